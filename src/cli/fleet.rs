//! What the verbs have in common that ask hosts over a master: hosts by name, and plans as people read them.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::admin_client::{AdminClient, segment};
use super::host_run::{PENDING, show_plan};
use super::output;
use crate::domain::text::spell_out;
use crate::domain::update::{Changes, OnHost, Plan};
use crate::web::pages::plans::differences;

/// How often an answer that is waited for is looked for.
pub(super) const OFTEN: Duration = Duration::from_secs(1);
/// Exit code: done in part.
pub(super) const IN_PART: u8 = 3;
/// Most hosts that are named on a line.
const MOST_NAMES: usize = 20;

/// How long hosts may take to answer.
#[derive(clap::Args)]
pub(super) struct WaitArgs {
    /// How long to wait until all hosts have worked it out.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    wait: u64,
}

/// Returns the id of the agent that people mean by its id or its name.
pub(super) async fn agent_of(master: &AdminClient, name: &str) -> anyhow::Result<String> {
    let answer = master.get("/api/v2/agents").await?;
    let agents = answer["agents"].as_object().cloned().unwrap_or_default();
    if agents.contains_key(name) {
        return Ok(name.to_owned());
    }
    let named: Vec<&String> =
        agents.iter().filter(|(_, agent)| agent["display_name"] == name).map(|(id, _)| id).collect();
    match named.as_slice() {
        [id] => Ok((*id).clone()),
        [] => bail!("there is no host `{}`; `lightship agents` lists all", spell_out(name)),
        several => {
            bail!("{} hosts are called `{}`; name one by its id", several.len(), spell_out(name))
        }
    }
}

/// Asks hosts, and waits for their answers. Returns all that was answered, with the hosts that could not be asked.
pub(super) async fn asked(
    master: &AdminClient,
    question: Value,
    wait: &WaitArgs,
) -> anyhow::Result<(Value, Vec<Value>)> {
    let asked = master.post("/api/v3/plans", question).await?;
    let request = asked["request"].as_str().context("the master named no question")?.to_owned();
    let left = asked["left"].as_array().cloned().unwrap_or_default();
    Ok((answers(master, &request, wait).await?, left))
}

/// Waits for the answers to a question.
pub(super) async fn answers(master: &AdminClient, request: &str, wait: &WaitArgs) -> anyhow::Result<Value> {
    let until = Instant::now() + Duration::from_secs(wait.wait);
    loop {
        let answer = master.get(&format!("/api/v3/plans/{}", segment(request)?)).await?;
        let is_whole = answer["waiting"].as_array().is_none_or(Vec::is_empty);
        if is_whole || Instant::now() >= until {
            return Ok(answer);
        }
        sleep(OFTEN).await;
    }
}

/// Prints what hosts answered. Returns the exit code: 0 nothing to change, 2 something is, 3 not all hosts answered.
pub(super) fn print_answers(answer: &Value, left: &[Value], as_json: bool) -> anyhow::Result<u8> {
    let groups = answer["plans"].as_array().cloned().unwrap_or_default();
    let waiting = answer["waiting"].as_array().cloned().unwrap_or_default();
    let failed = answer["failed"].as_array().cloned().unwrap_or_default();
    if as_json {
        let mut whole = answer.clone();
        whole["left"] = json!(left);
        output::json(&whole)?;
    } else {
        let mut most: Option<Changes> = None;
        for group in &groups {
            print_group(group, most.as_ref())?;
            let changes = changes_of(group)?;
            most = most.or(Some(changes).filter(|changes| !changes.is_empty()));
        }
    }
    for host in left {
        eprintln!("not asked: {}", output::text(host, "reason"));
    }
    for host in &failed {
        let way_out = host["way_out"].as_str().map(|text| format!("; {}", spell_out(text)));
        let (name, why) = (output::text(host, "agent"), output::text(host, "problem"));
        eprintln!("{name} could not work it out: {why}{}", way_out.unwrap_or_default());
    }
    if !waiting.is_empty() {
        let request = output::text(answer, "request");
        let again = format!("lightship updates plan --request {request}");
        eprintln!("not answered yet: {}; look again later with `{again}`", names(&waiting));
    }
    let is_whole = left.is_empty() && failed.is_empty() && waiting.is_empty();
    let mut changes = false;
    for group in &groups {
        changes |= !changes_of(group)?.is_empty();
    }
    Ok(match (is_whole, changes) {
        (false, _) => IN_PART,
        (true, true) => PENDING,
        (true, false) => 0,
    })
}

/// Prints the plan of some hosts; how it differs from `most`, if that is not its own.
pub(super) fn print_group(group: &Value, most: Option<&Changes>) -> anyhow::Result<()> {
    let hosts = group["hosts"].as_array().cloned().unwrap_or_default();
    let plan = Plan { changes: changes_of(group)?, on_host: on_host(hosts.first())? };
    let of = output::count(hosts.len() as u64, "host");
    output::line(&format!("The plan of {of}: {}", names(&hosts)))?;
    if let Some(most) = most.filter(|_| !plan.changes.is_empty()) {
        for line in differences(most, &plan.changes) {
            output::line(&format!("differs: {}", line.replace('`', "")))?;
        }
    }
    show_plan(&plan)?;
    for host in &hosts {
        for route in host["routes"].as_array().into_iter().flatten() {
            let [name, path, container] =
                ["hostname", "path", "container"].map(|name| output::text(route, name));
            let host = output::text(host, "agent");
            output::line(&format!("public: {name}{path} is behind {container} on {host}"))?;
        }
    }
    for held in group["held"].as_array().into_iter().flatten() {
        let [image, host, at, why, digest] =
            ["image", "agent", "failed_at", "reason", "digest"].map(|name| output::text(held, name));
        output::line(&format!(
            "held: {image} failed on {host} at {at}: {why}; it is approved on no host before `lightship updates let-go {digest}`"
        ))?;
    }
    if hosts.iter().any(|host| host["on_host"] != hosts[0]["on_host"]) {
        let first = hosts.first().map(|host| output::text(host, "agent")).unwrap_or_default();
        output::line(&format!(
            "What stands beside the changes is as on {first}; elsewhere it differs, `--json` has all"
        ))?;
    }
    output::line("")
}

/// Returns the changes of a group.
pub(super) fn changes_of(group: &Value) -> anyhow::Result<Changes> {
    serde_json::from_value(group["changes"].clone())
        .context("the master's answer holds no changes that this version can read")
}

fn on_host(host: Option<&Value>) -> anyhow::Result<OnHost> {
    let Some(host) = host else { return Ok(OnHost::default()) };
    serde_json::from_value(host["on_host"].clone())
        .context("the master's answer holds a plan that this version cannot read")
}

/// Names hosts.
pub(super) fn names(hosts: &[Value]) -> String {
    let shown: Vec<String> = hosts.iter().take(MOST_NAMES).map(|host| output::text(host, "agent")).collect();
    let more = hosts.len().saturating_sub(MOST_NAMES);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
