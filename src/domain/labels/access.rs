//! The `access.*` labels of one route, read into what they ask of Cloudflare Access.
//!
//! Which of them decides: at the route's own number first and then at the base, `access.groups` before `access.group` before
//! `access.policy` before `access.custom_rules`. What cannot be read closes the route; what can have no effect is shown, and
//! closes nothing.

use super::super::access::{
    AUTHENTICATED, AccessAsk, AppOptions, MAX_RULES, PUBLIC_BYPASS, PolicySpec, parse_duration, parse_rules,
};
use super::super::id::GroupId;
use super::super::text::{is_in_quotes, repeated};
use super::effects::Effects;
use super::near_miss::AccessTypo;
use super::problem::{IN_QUOTES, LabelProblem, note};
use super::table::{Found, Labelled, Level, is_no, is_yes};

/// The labels that say who may come in, the weightiest first.
const SOURCES: [&str; 4] = ["access.groups", "access.group", "access.policy", "access.custom_rules"];
/// Those that say how an application behaves.
const OPTIONS: [&str; 5] = [
    "access.name",
    "access.session_duration",
    "access.app_launcher_visible",
    "access.allowed_idps",
    "access.auto_redirect_to_identity",
];
/// Words of `access.policy` with a meaning.
const POLICIES: [&str; 4] = ["bypass", "authenticate", "default_tld", "none"];
/// Most groups of one route.
const MAX_GROUPS: usize = 50;
/// Most bytes of a list: of a longer one the end might not leave the host, and with it what keeps somebody out.
const MAX_LIST: usize = 3_500;
/// Reasons that are kept of one route; the last of them counts the others.
const MAX_REASONS: usize = 3;
/// Most bytes of rules that the routes of one container hold together, since each keeps a copy of what stands at the base.
pub(super) const MAX_ALL_RULES: usize = 4 * MAX_RULES;

/// Reads what one route asks for.
pub(super) struct AccessReader<'a, 'p> {
    table: &'a Labelled<'a>,
    level: Level,
    problems: &'p mut Vec<LabelProblem>,
    effects: &'p mut Effects<'a>,
    /// Why it cannot be read.
    reasons: Vec<String>,
}

impl<'a, 'p> AccessReader<'a, 'p> {
    pub(super) fn new(
        table: &'a Labelled<'a>,
        level: Level,
        problems: &'p mut Vec<LabelProblem>,
        effects: &'p mut Effects<'a>,
    ) -> Self {
        Self { table, level, problems, effects, reasons: Vec::new() }
    }

    /// Reads all of it; `typos` are labels about protection that have no meaning as they are written.
    pub(super) fn ask(mut self, typos: &[AccessTypo<'_>]) -> AccessAsk {
        let concerns = |typo: &&AccessTypo<'_>| typo.level == Level::Base || typo.level == self.level;
        let all = typos.iter().filter(concerns).count();
        self.reasons.extend(typos.iter().filter(concerns).take(MAX_REASONS).map(AccessTypo::reason));
        let untold = all - self.reasons.len();
        let ask = self.ask_of_sources();
        if self.reasons.is_empty() {
            return ask;
        }
        let more = untold + self.reasons.len().saturating_sub(MAX_REASONS);
        self.reasons.truncate(MAX_REASONS);
        if let Some(last) = self.reasons.last_mut().filter(|_| more > 0) {
            *last = format!("{last}; and {more} more");
        }
        AccessAsk::Unreadable { reasons: self.reasons }
    }

    fn ask_of_sources(&mut self) -> AccessAsk {
        let level = self.level_of_sources();
        let Some((source, found)) = self.deciding(level) else { return self.without_source() };
        self.note_overruled(level, source, &found);
        self.effects.has_effect(&found);
        match source {
            "access.groups" => self.groups(&found, true),
            "access.group" => self.groups(&found, false),
            "access.policy" => self.policy(&found),
            _ => self.own(&found),
        }
    }

    /// The route's own labels count before those of the base, whichever they are.
    fn level_of_sources(&self) -> Level {
        let has_own = SOURCES.iter().any(|source| self.table.get(self.level, source).is_some());
        if has_own { self.level } else { Level::Base }
    }

    /// Returns the label that decides. A word that is no policy of its own makes way for the rules beside it, as DockFlare
    /// wants one there.
    fn deciding(&self, level: Level) -> Option<(&'static str, Found<'a>)> {
        let there = |source: &'static str| self.table.get(level, source).map(|found| (source, found));
        let rules = there("access.custom_rules");
        let makes_way = |found: &Found<'_>| {
            let word = found.value.trim().to_ascii_lowercase();
            rules.is_some() && (word == "none" || !POLICIES.contains(&word.as_str()))
        };
        let policy = there("access.policy").filter(|(_, found)| !makes_way(found));
        there("access.groups").or_else(|| there("access.group")).or(policy).or_else(|| rules.clone())
    }

    /// Notes the labels that another one decides over.
    fn note_overruled(&mut self, level: Level, source: &str, deciding: &Found<'a>) {
        let reason = format!("has no effect beside `{}`, which decides; remove one of them", deciding.label);
        for other in SOURCES.into_iter().filter(|other| *other != source) {
            // DockFlare wants any word beside rules.
            if (source, other) == ("access.custom_rules", "access.policy") {
                continue;
            }
            if let Some(found) = self.table.get(level, other) {
                self.effects.has_none(&found, reason.clone());
            }
        }
        if level != Level::Base {
            for found in SOURCES.into_iter().filter_map(|source| self.table.get(Level::Base, source)) {
                let reason =
                    "has no effect: every route of this container has labels of its own for that; remove it";
                self.effects.has_none(&found, reason.into());
            }
        }
    }

    /// Nothing says who may come in. Whoever set something all the same does not want an open door.
    fn without_source(&mut self) -> AccessAsk {
        let blank: Vec<Found<'a>> = SOURCES.into_iter().filter_map(|source| self.blank(source)).collect();
        let options: Vec<Found<'a>> =
            OPTIONS.into_iter().filter_map(|option| self.table.get_or_base(self.level, option)).collect();
        let is_policy = |found: &Found<'_>| found.label.ends_with("access.policy");
        if let [policy] = &blank[..]
            && is_policy(policy)
            && options.is_empty()
        {
            let reason = "an empty policy means public, as with DockFlare; write `none` to say so, or `authenticate`, or name a group";
            note(self.problems, policy, reason);
            return AccessAsk::Public;
        }
        for found in blank.iter().filter(|found| !is_policy(found)) {
            self.refuse(found, "it is empty, so nobody can tell who may come in; fill it in, or remove it");
        }
        for found in options {
            let word = found.label.rsplit('.').next().unwrap_or_default().to_owned();
            self.refuse(
                &found,
                format!(
                    "`{word}` alone protects nothing; add `access.group` or `access.policy`, or remove it if the route is to be public"
                ),
            );
        }
        AccessAsk::Nothing
    }

    /// Returns a label that is there and empty, as an unset variable of a compose file leaves it.
    fn blank(&self, suffix: &str) -> Option<Found<'a>> {
        self.table.blank(self.level, suffix).or_else(|| self.table.blank(Level::Base, suffix))
    }

    fn groups(&mut self, found: &Found<'a>, is_list: bool) -> AccessAsk {
        self.note_options_without_effect(
            "the groups say how an application behaves; set it in the first group",
        );
        let names = if is_list { self.list(found) } else { vec![found.value.trim()] };
        if names.len() > MAX_GROUPS {
            self.refuse(found, format!("a route has {MAX_GROUPS} groups at most"));
        }
        let mut groups: Vec<GroupId> = Vec::new();
        for name in names {
            if name.is_empty() {
                self.refuse(
                    found,
                    "a place between two commas is empty; name a group there, or remove the comma",
                );
                continue;
            }
            if !is_list && name.contains(',') {
                self.refuse(found, "this label names one group; several of them belong in `access.groups`");
                continue;
            }
            // DockFlare takes the word for the group.
            let name = if name == "bypass" { PUBLIC_BYPASS } else { name };
            match GroupId::parse(name) {
                Ok(group) if groups.contains(&group) => {}
                Ok(group) => groups.push(group),
                Err(error) => {
                    self.refuse(found, error);
                }
            }
        }
        AccessAsk::Groups { groups }
    }

    fn list(&mut self, found: &Found<'a>) -> Vec<&'a str> {
        if found.value.len() > MAX_LIST {
            self.refuse(found, format!("the list is longer than {MAX_LIST} bytes; make it shorter"));
            return Vec::new();
        }
        found.value.split(',').map(str::trim).collect()
    }

    fn policy(&mut self, found: &Found<'a>) -> AccessAsk {
        let word = found.value.trim().to_ascii_lowercase();
        let group = |id: &str| AccessAsk::Groups { groups: vec![GroupId::new(id)] };
        let ask = match word.as_str() {
            "bypass" => group(PUBLIC_BYPASS),
            "authenticate" => group(AUTHENTICATED),
            "default_tld" => AccessAsk::Inherit,
            "none" => AccessAsk::Public,
            _ => {
                self.refuse(found, unknown_policy(&word));
                AccessAsk::Nothing
            }
        };
        self.note_options_without_effect(match ask {
            AccessAsk::Groups { .. } => {
                "the policy says how its application behaves; for another one make a group"
            }
            _ => "no application of its own is made for this policy; remove it",
        });
        ask
    }

    fn own(&mut self, found: &Found<'a>) -> AccessAsk {
        let policies: Vec<PolicySpec> = match parse_rules(found.value) {
            Ok(policies) => policies,
            Err(reason) => {
                self.refuse(found, reason);
                Vec::new()
            }
        };
        let options = self.options();
        AccessAsk::Own { options, policies }
    }

    fn options(&mut self) -> AppOptions {
        let mut options = AppOptions::default();
        if let Some(found) = self.option("access.name") {
            options.name = Some(found.value.trim().to_owned());
            self.refuse_quotes(&found);
            self.check(&found, &AppOptions { name: options.name.clone(), ..AppOptions::default() });
        }
        if let Some(found) = self.option("access.session_duration") {
            options.session_duration = found.value.trim().to_owned();
            if let Err(reason) = parse_duration(found.value) {
                self.refuse(&found, reason);
            }
        }
        options.app_launcher_visible = self.flag("access.app_launcher_visible").is_some();
        if let Some(found) = self.option("access.allowed_idps") {
            options.allowed_idps = self.list(&found).into_iter().map(str::to_owned).collect();
            self.refuse_quotes(&found);
            let alone = AppOptions { allowed_idps: options.allowed_idps.clone(), ..AppOptions::default() };
            self.check(&found, &alone);
        }
        if let Some(found) = self.flag("access.auto_redirect_to_identity") {
            options.auto_redirect_to_identity = true;
            if options.allowed_idps.len() != 1 {
                self.refuse(
                    &found,
                    "a redirect needs exactly one identity provider in `access.allowed_idps`; name one there, or remove this label",
                );
            }
        }
        options
    }

    /// The label of an option that counts.
    fn option(&mut self, suffix: &str) -> Option<Found<'a>> {
        let found = self.table.get_or_base(self.level, suffix)?;
        self.effects.has_effect(&found);
        Some(found)
    }

    /// The label, if it means yes.
    fn flag(&mut self, suffix: &str) -> Option<Found<'a>> {
        let found = self.option(suffix)?;
        if !is_yes(found.value) && !is_no(found.value) {
            self.refuse(&found, "the value means neither yes nor no; write `true` or `false`");
        }
        is_yes(found.value).then_some(found)
    }

    /// Quotes can be part of a name, and hardly ever are.
    fn refuse_quotes(&mut self, found: &Found<'a>) {
        if is_in_quotes(found.value) {
            self.refuse(found, IN_QUOTES);
        }
    }

    fn check(&mut self, found: &Found<'a>, alone: &AppOptions) {
        for reason in alone.check().err().into_iter().flatten() {
            self.refuse(found, reason);
        }
    }

    fn note_options_without_effect(&mut self, why: &str) {
        for found in OPTIONS.into_iter().filter_map(|option| self.table.get_or_base(self.level, option)) {
            self.effects.has_none(&found, format!("has no effect: {why}"));
        }
    }

    /// Shows what is wrong with a label, and closes the route for it.
    fn refuse(&mut self, found: &Found<'_>, reason: impl ToString) {
        let reason = match is_in_quotes(found.value) {
            true => IN_QUOTES.to_owned(),
            false => reason.to_string(),
        };
        let problem = note(self.problems, found, &reason);
        self.reasons.push(format!("`{}`: {}", problem.label, problem.reason));
    }
}

fn unknown_policy(word: &str) -> String {
    let words = POLICIES.map(|known| format!("`{known}`")).join(", ");
    let nearest = POLICIES.into_iter().map(|known| (strsim::levenshtein(word, known), known)).min();
    match nearest.filter(|(distance, _)| word.len() <= 64 && *distance <= 2) {
        Some((_, meant)) => format!("`{}` is no policy; `{meant}` was probably meant", repeated(word)),
        None => format!(
            "`{}` is no policy: {words} are; name a group in `access.group` for any other, or write rules in `access.custom_rules`",
            repeated(word)
        ),
    }
}
