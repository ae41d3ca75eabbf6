//! `lightship updates plan`, `approve` and `held`: what hosts would change, and a person's yes to it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::common::Common;
use super::fleet::{WaitArgs, agent_of, answers, asked, changes_of, names, print_answers, print_group};
use super::{admin_client, approvals, output};
use crate::domain::text::spell_out;
use crate::domain::update::{ApprovalMode, PlanId};

/// Options of `lightship updates plan`.
#[derive(clap::Args)]
pub(super) struct PlanArgs {
    /// Ids of updates, as `lightship updates` lists them; with `--host` names of packages or containers.
    #[arg(value_name = "ID|NAME")]
    updates: Vec<String>,
    /// A host, by its id or name; may be repeated.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Everything that is newer on these hosts.
    #[arg(long, conflicts_with_all = ["security", "updates"])]
    all: bool,
    /// Everything on these hosts that mends a hole.
    #[arg(long, conflicts_with = "updates")]
    security: bool,
    /// What would bring installations to their end that were broken off on these hosts.
    #[arg(long, conflicts_with_all = ["all", "security", "updates", "restart_services"])]
    repair: bool,
    /// That these hosts are started anew.
    #[arg(long, conflicts_with_all = ["all", "security", "updates", "repair", "restart_services"])]
    reboot: bool,
    /// With `--reboot`: minutes until then; 1 if it is left out.
    #[arg(long = "in", value_name = "MINUTES", requires = "reboot")]
    delay: Option<u16>,
    /// Have services restarted afterwards that run on files which are replaced.
    #[arg(long)]
    restart_services: bool,
    /// Ask nothing, and show what was answered to this question.
    #[arg(long, value_name = "REQUEST", conflicts_with_all = ["host", "all", "security", "updates", "repair", "reboot", "restart_services"])]
    request: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Options of `lightship updates approve`.
#[derive(clap::Args)]
pub(super) struct ApproveArgs {
    /// The question, as `lightship updates plan` shows it.
    request: String,
    /// The plan, or at least its first twelve digits.
    plan: String,
    /// Only for this host, by its id or name; may be repeated. Left out, for every host with this plan.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// How long the yes counts: a number with `m`, `h`, `d` or `w`; one minute to one week.
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = seconds)]
    lifetime: u64,
    /// When hosts are told, such as `2026-12-24T02:00:00Z`, at most a week from now; the yes counts from then on.
    #[arg(long, value_name = "TIME")]
    not_before: Option<DateTime<Utc>>,
    /// How far the yes goes: `exact` is to exactly what is shown; `same-scope` also to newer versions of the same things, on
    /// every host that answered; `skip` passes over hosts that would change anything else.
    #[arg(long, value_enum, default_value_t = Mode::Exact)]
    mode: Mode,
    /// Ask no question.
    #[arg(long)]
    yes: bool,
}

/// How far a yes goes, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Exact,
    SameScope,
    Skip,
}

impl Mode {
    fn of_domain(self) -> ApprovalMode {
        match self {
            Self::Exact => ApprovalMode::Exact,
            Self::SameScope => ApprovalMode::SameScope,
            Self::Skip => ApprovalMode::Skip,
        }
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let expected = || "write a number with `m`, `h`, `d` or `w`, such as `24h`".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let each = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| expected())?;
    let all = number.checked_mul(each).ok_or_else(expected)?;
    match all {
        60..=604_800 => Ok(all),
        _ => Err("a yes counts for one minute to one week".into()),
    }
}

impl PlanArgs {
    /// Says what is missing, if something is.
    fn must_ask_something(&self) -> anyhow::Result<()> {
        let is_about_all = self.all || self.security || self.repair || self.reboot;
        match (self.host.is_empty(), self.updates.is_empty()) {
            _ if self.request.is_some() => Ok(()),
            (true, true) if is_about_all => {
                bail!("say on which hosts: `--host NAME`, once or more; `lightship agents` lists them")
            }
            (true, true) => bail!(
                "say what is to be planned: ids of updates (`lightship updates` lists them), or `--host NAME` with `--all`, \
                 `--security`, `--repair`, `--reboot` or names"
            ),
            (false, true) if !is_about_all => {
                bail!(
                    "say what is to be planned on the host: `--all`, `--security`, `--repair`, `--reboot`, or names"
                )
            }
            _ => Ok(()),
        }
    }
}

impl PlanArgs {
    /// What the master is asked, about these agents.
    fn question(&self, agents: &[String]) -> Value {
        let mut question = match self {
            _ if agents.is_empty() => json!({ "updates": self.updates }),
            Self { all: true, .. } => json!({ "agents": agents, "what": "all" }),
            Self { security: true, .. } => json!({ "agents": agents, "what": "security" }),
            Self { repair: true, .. } => json!({ "agents": agents, "what": "repair" }),
            Self { reboot: true, .. } => json!({ "agents": agents, "what": "reboot" }),
            _ => json!({ "agents": agents, "names": self.updates }),
        };
        if let Some(minutes) = self.delay {
            question["delay_minutes"] = json!(minutes);
        }
        if self.restart_services {
            question["restart_services"] = json!(true);
        }
        question
    }
}

/// Asks hosts what they would change.
pub(super) fn plan(args: &PlanArgs, common: &Common) -> anyhow::Result<ExitCode> {
    args.must_ask_something()?;
    let (answer, left) = admin_client::converse(common, async |master| {
        if let Some(request) = &args.request {
            return Ok((answers(&master, request, &args.wait).await?, Vec::new()));
        }
        let mut agents = Vec::new();
        for host in &args.host {
            agents.push(agent_of(&master, host).await?);
        }
        asked(&master, args.question(&agents), &args.wait).await
    })?;
    let code = print_answers(&answer, &left, common.json)?;
    say_how_to_approve(&answer)?;
    Ok(ExitCode::from(code))
}

/// Says beside the data how to say yes.
pub(super) fn say_how_to_approve(answer: &Value) -> anyhow::Result<()> {
    let request = output::text(answer, "request");
    for group in answer["plans"].as_array().into_iter().flatten() {
        if !changes_of(group)?.is_empty() {
            let plan = PlanId::stored(output::text(group, "id"));
            eprintln!("approve it with `lightship updates approve {request} {}`", plan.short());
        }
    }
    Ok(())
}

/// Says yes to a plan.
pub(super) fn approve(args: &ApproveArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let done = admin_client::converse(common, async |master| {
        let answer = master.get(&format!("/api/v3/plans/{}", admin_client::segment(&args.request)?)).await?;
        let groups = answer["plans"].as_array().cloned().unwrap_or_default();
        let is_meant = |group: &&Value| PlanId::stored(output::text(group, "id")).is_meant_by(&args.plan);
        let mut group = groups.iter().find(is_meant).cloned().with_context(|| {
            format!(
                "no host answered this question with a plan `{}`; `lightship updates plan` shows plans with their ids",
                spell_out(&args.plan)
            )
        })?;
        if !args.host.is_empty() {
            only(&master, &mut group, &args.host).await?;
        }
        let mut hosts = group["hosts"].as_array().cloned().unwrap_or_default();
        if !args.yes {
            print_group(&group, None)?;
        }
        if args.mode != Mode::Exact && args.host.is_empty() {
            hosts.extend(others(&groups, &group)?);
        }
        let how = match args.mode {
            Mode::Exact => "",
            Mode::SameScope => ", or newer versions of the same,",
            Mode::Skip => ", passing over those that differ,",
        };
        let when = args.not_before.map(|at| format!(", not before {at}")).unwrap_or_default();
        if !args.yes && !confirmed(&format!("Approve this{how} for {}{when}?", names(&hosts)))? {
            return Ok(None);
        }
        // For the hosts that were shown, and no others.
        let agents: Vec<&Value> = hosts.iter().map(|host| &host["agent_id"]).collect();
        let body = json!({ "plan": group["id"], "agents": agents, "expires_in_seconds": args.lifetime,
            "mode": args.mode.of_domain(), "not_before": args.not_before });
        let done = master
            .post(&format!("/api/v3/plans/{}/approve", admin_client::segment(&args.request)?), body)
            .await?;
        let id = output::text(&done, "approval");
        let given = master.get(&format!("/api/v3/approvals/{}", admin_client::segment(&id)?)).await?;
        Ok(Some((done, given)))
    })?;
    let Some((done, given)) = done else { return Ok(ExitCode::FAILURE) };
    let waits = given["approvals"].as_array().into_iter().flatten().any(|row| row["status"] == "waiting");
    let id = output::text(&done, "approval");
    if waits {
        eprintln!("a second person has to say yes: `lightship updates second {id}`");
    } else {
        eprintln!("`lightship runs` shows what comes of it; `lightship updates withdraw {id}` takes it back");
    }
    approvals::outcome(&done, "approved", common)
}

/// Returns the hosts that answered with something else, which a yes that is not exact can reach.
fn others(groups: &[Value], group: &Value) -> anyhow::Result<Vec<Value>> {
    let mut hosts = Vec::new();
    for other in groups.iter().filter(|other| other["id"] != group["id"]) {
        if !changes_of(other)?.is_empty() {
            hosts.extend(other["hosts"].as_array().cloned().unwrap_or_default());
        }
    }
    Ok(hosts)
}

/// Leaves only these hosts in a group.
async fn only(
    master: &admin_client::AdminClient,
    group: &mut Value,
    wanted: &[String],
) -> anyhow::Result<()> {
    let mut agents = Vec::new();
    for name in wanted {
        agents.push(agent_of(master, name).await?);
    }
    let hosts = group["hosts"].as_array().cloned().unwrap_or_default();
    for (agent, name) in agents.iter().zip(wanted) {
        if !hosts.iter().any(|host| host["agent_id"] == agent.as_str()) {
            bail!("`{}` did not answer with this plan", spell_out(name));
        }
    }
    let is_wanted = |host: &Value| agents.iter().any(|agent| host["agent_id"] == agent.as_str());
    group["hosts"] = hosts.into_iter().filter(is_wanted).collect();
    Ok(())
}

/// Asks a person. Without one `--yes` is needed.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    let is_yes = output::ask(question, "add `--yes` to approve it")?;
    if !is_yes {
        eprintln!("nothing was approved");
    }
    Ok(is_yes)
}

/// Runs `lightship updates held`.
pub(super) fn held(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| master.get("/api/v3/held-images").await)?;
    let images = answer["images"].as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&images)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |image: &Value| {
        ["digest", "image", "reason", "failed_at"].map(|name| output::text(image, name)).to_vec()
    };
    output::table(
        &["DIGEST", "IMAGE", "WHY", "SINCE"],
        images.iter().map(row).collect(),
        "no image is held: none failed on a host, or each was let go",
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `lightship updates let-go`.
pub(super) fn let_go(digest: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':';
    if digest.is_empty() || !digest.bytes().all(is_part) {
        bail!("`{digest}` is no digest; `lightship updates held` shows those of images that are held");
    }
    let path = format!("/api/v3/held-images/{}/let-go", admin_client::segment(digest)?);
    let answer = admin_client::converse(common, async |master| master.post(&path, json!({})).await)?;
    if common.json {
        output::json(&answer)?;
    } else {
        output::line(&format!("{digest} may be approved again"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_is_no_longer_than_a_week() {
        for (text, expected) in
            [("1m", Some(60)), ("24h", Some(86_400)), ("7d", Some(604_800)), ("1w", Some(604_800))]
        {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for text in ["", "24", "8d", "0h", "-1h", "1y", "h", "99999999999999999999w", "ü"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
