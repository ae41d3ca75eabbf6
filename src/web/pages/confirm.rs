//! What is asked before it is done: by the browser where scripts run, else on a page of its own.

use actix_web::HttpResponse;
use askama::Template;

use super::{Shell, SignedIn, go_to, page};
use crate::actors::master::MasterError;
use crate::web::error::ApiError;

/// A form that has to be confirmed.
#[derive(Debug, serde::Deserialize)]
pub struct Confirmation {
    confirmed: Option<String>,
}

impl Confirmation {
    /// True if the person said yes.
    pub fn is_given(&self) -> bool {
        self.confirmed.as_deref() == Some("yes")
    }
}

/// What a person is asked.
pub struct Question {
    /// Last part of the path that the answer is posted to.
    pub verb: &'static str,
    /// What is done after a yes, as the button says it.
    pub title: &'static str,
    /// What it means.
    pub text: &'static str,
}

/// Taking a key back.
pub const REVOKE_KEY: Question = Question {
    verb: "revoke",
    title: "Revoke key",
    text: "Revoke this key? Its agent is not heard any more until it has a new one. Tunnel and routes stay.",
};
/// Taking a registration token back.
pub const REVOKE_TOKEN: Question = Question {
    verb: "revoke",
    title: "Revoke token",
    text: "Revoke this registration token? No further host registers with it; those that did stay.",
};
/// Replacing the connector.
pub const REDEPLOY: Question = Question {
    verb: "redeploy",
    title: "Replace connector",
    text: "Replace the connector? Requests may fail for a moment.",
};
/// Moving names to a tunnel whose connector was not seen.
pub const MOVE: Question = Question {
    verb: "move",
    title: "Move names now",
    text: "Move its names to its new tunnel now? No connector was seen there: until one is, nothing answers.",
};
/// Forgetting an account at a registry.
pub const REMOVE_LOGIN: Question = Question {
    verb: "remove",
    title: "Forget login",
    text: "Forget this login? Private images of the registry cannot be checked by the master any more, unless `docker login` \
           left another one.",
};
/// Removing a rule that a person made.
pub const REMOVE_RULE: Question = Question {
    verb: "remove",
    title: "Remove rule",
    text: "Remove this rule? What it published is not reachable any more, and its DNS record goes if we made it.",
};
/// Removing a group that nothing asks for.
pub const REMOVE_GROUP: Question = Question {
    verb: "remove",
    title: "Remove group",
    text: "Remove this group? No route asks for it now; one that does so later is closed until there is such a group again.",
};
/// Removing a group that routes ask for.
pub const CLOSE_GROUP: Question = Question {
    verb: "remove",
    title: "Remove group and close its routes",
    text: "Remove this group? Every route that asks for it is closed: nobody reaches them until their containers ask for \
           another group, or there is such a group again.",
};
/// Giving a service token another secret.
pub const ROTATE_SERVICE_TOKEN: Question = Question {
    verb: "rotate",
    title: "Make another secret",
    text: "Give this service token another secret? Programs that have the one before come in no more until they have the new \
           one.",
};
/// Deleting a service token.
pub const REVOKE_SERVICE_TOKEN: Question = Question {
    verb: "revoke",
    title: "Revoke service token",
    text: "Revoke this service token? Programs that have it come in no more, and nobody can bring it back.",
};
/// Making a group that keeps nobody out.
pub const OPEN_GROUP: Question = Question {
    verb: "groups",
    title: "Open it to everyone",
    text: "Open this group to everyone? One of its policies lets in whoever comes, or whoever can sign in in any way: so do \
           all routes that ask for the group.",
};
/// Removing a target of notifications.
pub const REMOVE_TARGET: Question = Question {
    verb: "remove",
    title: "Remove target",
    text: "Remove this target? Nobody is told there any more, and what waits to be sent to it is forgotten.",
};
/// Removing an agent.
pub const REMOVE: Question = Question {
    verb: "remove",
    title: "Remove agent",
    text: "Remove this agent? Its tunnel is stopped, its routes are withdrawn and its key is revoked. A tunnel that \
           was made for it is deleted once no connector is connected; any other is kept.",
};

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    shell: Shell,
    question: &'a Question,
    action: String,
    back: &'a str,
    /// What goes with the answer.
    fields: &'a [(String, String)],
}

impl Question {
    /// Does it once the person has said yes, and goes back to the list of agents; else asks.
    pub async fn after_yes(
        &self,
        person: &SignedIn,
        answer: &Confirmation,
        path: &str,
        what: impl Future<Output = Result<(), MasterError>>,
    ) -> Result<HttpResponse, ApiError> {
        if !answer.is_given() {
            return self.ask(person, path, "/agents");
        }
        what.await?;
        Ok(go_to("/agents"))
    }

    /// Shows the page that asks; a yes posts to the verb below `path` again, a no goes `back`.
    pub fn ask(&self, person: &SignedIn, path: &str, back: &str) -> Result<HttpResponse, ApiError> {
        self.ask_with(person, path, back, &[])
    }

    /// The same; `fields` go with the yes.
    pub fn ask_with(
        &self,
        person: &SignedIn,
        path: &str,
        back: &str,
        fields: &[(String, String)],
    ) -> Result<HttpResponse, ApiError> {
        let action = format!("{path}/{}", self.verb);
        let here = ["/system", "/access", "/routes", "/notifications"]
            .into_iter()
            .find(|here| *here == back)
            .unwrap_or("/agents");
        page(&ConfirmPage { shell: Shell::new(person, here), question: self, action, back, fields })
    }
}
