//! The usual group in options: one policy, without JSON.

use anyhow::bail;
use serde_json::{Value, json};

use crate::domain::access::Selector;

/// Options that name people and machines; `$prefix` says in which part of the policy they stand.
macro_rules! selectors {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $whom:literal) => {
        $(#[$doc])*
        #[derive(Debug, Default, PartialEq, clap::Args)]
        pub(super) struct $name {
            #[arg(id = concat!($prefix, "email"), long = concat!($prefix, "email"), value_name = "ADDRESS",
                help = concat!($whom, " this e-mail address; may be repeated, as all of these"))]
            email: Vec<String>,
            #[arg(id = concat!($prefix, "domain"), long = concat!($prefix, "domain"), value_name = "DOMAIN",
                help = concat!($whom, " an e-mail address of this domain"))]
            domain: Vec<String>,
            #[arg(id = concat!($prefix, "ip"), long = concat!($prefix, "ip"), value_name = "RANGE",
                help = concat!($whom, " an address of this range, such as 10.0.0.0/8"))]
            ip: Vec<String>,
            #[arg(id = concat!($prefix, "country"), long = concat!($prefix, "country"), value_name = "CODE",
                help = concat!($whom, " a request from this country, such as DE"))]
            country: Vec<String>,
            #[arg(id = concat!($prefix, "idp"), long = concat!($prefix, "idp"), value_name = "NAME",
                help = concat!($whom, " a sign-in with this identity provider, by its name or id"))]
            idp: Vec<String>,
            #[arg(id = concat!($prefix, "service-token"), long = concat!($prefix, "service-token"), value_name = "NAME",
                help = concat!($whom, " this service token, by its name or id"))]
            service_token: Vec<String>,
        }

        impl $name {
            /// Returns them as Cloudflare writes them.
            fn selectors(&self) -> Vec<Selector> {
                let each = |texts: &[String], make: fn(String) -> Selector| -> Vec<Selector> {
                    texts.iter().cloned().map(make).collect()
                };
                let kinds = [
                    each(&self.email, Selector::Email),
                    each(&self.domain, Selector::EmailDomain),
                    each(&self.ip, Selector::Ip),
                    each(&self.country, Selector::Country),
                    each(&self.idp, Selector::IdentityProvider),
                    each(&self.service_token, Selector::ServiceToken),
                ];
                kinds.concat()
            }
        }
    };
}

selectors!(
    /// Whom the policy is about: any of these.
    Include, "", "Anyone with"
);
selectors!(
    /// What they have to meet beside that, all of it.
    Require, "require-", "Who also has"
);
selectors!(
    /// Who is left out.
    Exclude, "exclude-", "Except who has"
);

/// Options of a group of one policy.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct ShortForm {
    /// What people call it; its id if it is left out.
    #[arg(long)]
    name: Option<String>,
    /// What happens to them: allow (they sign in; the default), non_identity (service tokens and the like), bypass (nothing is
    /// asked) or deny.
    #[arg(long, value_parser = ["allow", "bypass", "deny", "non_identity"], hide_possible_values = true)]
    decision: Option<String>,
    #[command(flatten)]
    include: Include,
    /// Everyone.
    #[arg(long)]
    everyone: bool,
    /// Anyone with any service token of the account.
    #[arg(long)]
    any_service_token: bool,
    #[command(flatten)]
    require: Require,
    #[command(flatten)]
    exclude: Exclude,
    /// How long a sign-in lasts, such as 24h (the default) or 30m.
    #[arg(long, value_name = "TIME")]
    session_duration: Option<String>,
    /// Identity provider that may be used, by its name or id; may be repeated; all if it is left out.
    #[arg(long = "allowed-idp", value_name = "NAME")]
    allowed_idps: Vec<String>,
    /// Go straight to that identity provider; there has to be one.
    #[arg(long)]
    auto_redirect: bool,
    /// Show its applications in the App Launcher.
    #[arg(long)]
    app_launcher: bool,
}

impl ShortForm {
    /// Returns the group as it is sent.
    pub(super) fn group(&self) -> anyhow::Result<Value> {
        let mut include = self.include.selectors();
        include.extend(self.any_service_token.then_some(Selector::AnyServiceToken));
        include.extend(self.everyone.then_some(Selector::Everyone));
        if include.is_empty() {
            bail!(
                "say whom the group is about, such as `--email a@example.com`, `--domain example.com` or `--everyone`, or \
                 hand the whole group in with `--file`"
            );
        }
        let policy = json!({
            "decision": self.decision.as_deref().unwrap_or("allow"),
            "include": include,
            "require": self.require.selectors(),
            "exclude": self.exclude.selectors(),
        });
        let mut options = json!({
            "allowed_idps": self.allowed_idps,
            "auto_redirect_to_identity": self.auto_redirect,
            "app_launcher_visible": self.app_launcher,
        });
        if let Some(duration) = &self.session_duration {
            options["session_duration"] = json!(duration);
        }
        Ok(json!({ "name": self.name, "options": options, "policies": [policy] }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::domain::access::read_group;
    use crate::domain::id::GroupId;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        short: ShortForm,
    }

    fn parsed(args: &[&str]) -> ShortForm {
        Line::parse_from(std::iter::once("set").chain(args.iter().copied())).short
    }

    #[test]
    fn options_become_a_group_that_can_be_read() {
        let args = "--name Staff --email a@example.com --email b@example.com --domain example.org --ip 10.0.0.0/8 --country DE \
                    --idp Google --service-token ci --require-idp Okta --require-country FR --exclude-email c@example.com \
                    --exclude-ip 10.1.0.0/16 --session-duration 8h --allowed-idp Okta --auto-redirect --app-launcher";
        let body = parsed(&args.split_whitespace().collect::<Vec<_>>()).group().unwrap();
        let group = read_group(Some(&GroupId::new("staff")), body).unwrap();
        assert_eq!(
            group.in_words(),
            [concat!(
                "lets in anyone of a@example.com, b@example.com, @example.org, or from 10.0.0.0/8, DE, or signed in with ",
                "Google, or with the service token ci, who also comes from FR and signs in with Okta, except ",
                "c@example.com, or from 10.1.0.0/16"
            )]
        );
        let options = &group.options;
        assert_eq!(
            (options.session_duration.as_str(), options.allowed_idps.as_slice()),
            ("8h", &["Okta".to_owned()][..])
        );
        assert!(options.auto_redirect_to_identity && options.app_launcher_visible);
        let open = parsed(&["--everyone", "--decision", "bypass"]).group().unwrap();
        let open = read_group(Some(&GroupId::new("open")), open).unwrap();
        assert!(open.is_open_to_everyone() && open.name == "open");
    }

    #[test]
    fn a_group_about_nobody_and_an_unknown_decision_are_refused() {
        assert!(parsed(&["--name", "x"]).group().unwrap_err().to_string().contains("--email a@example.com"));
        assert!(parsed(&["--require-email", "a@example.com"]).group().is_err());
        assert!(Line::try_parse_from(["set", "--decision", "maybe"]).is_err());
        assert_eq!(parsed(&[]), ShortForm::default());
    }
}
