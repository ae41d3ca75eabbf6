//! What an account knows of people and programs: what names in policies stand for.

use serde::Deserialize;

use super::super::id::IdentityProviderId;
use super::super::text::repeated;
use super::group::ONE_TIME_PIN;
use super::owner::Owner;
use super::service_token::ServiceToken;

/// The right to read identity providers, as Cloudflare's form calls it.
pub const IDENTITY_RIGHT: &str = "Access: Organizations, Identity Providers, and Groups Read";
/// The right to read service tokens.
pub const TOKENS_RIGHT: &str = "Access: Service Tokens Read";
/// Why the owner of the account cannot be let in before anybody looked who that is.
const OWNER_NOT_READ: &str =
    "`authenticate` lets in the owner of the Cloudflare account, whose address was not read yet";

/// A way to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IdentityProvider {
    /// Its id.
    pub id: IdentityProviderId,
    /// What people call it.
    pub name: String,
    /// Cloudflare's word for its kind, such as `google` or `onetimepin`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What is known of an account. What is missing could not be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account<'a> {
    /// Its identity providers.
    pub idps: Option<&'a [IdentityProvider]>,
    /// Its service tokens.
    pub tokens: Option<&'a [ServiceToken]>,
    /// Who owns it; none if nobody looked.
    pub owner: Option<&'a Owner>,
}

impl<'a> Account<'a> {
    /// Returns the identity provider of an id or a name, or why there is none.
    pub(super) fn idp(&self, wanted: &str) -> Result<&'a IdentityProviderId, String> {
        let idps =
            self.idps.ok_or_else(|| unread("the identity providers of the account", IDENTITY_RIGHT))?;
        if let Some(pin) = idps.iter().find(|idp| wanted == ONE_TIME_PIN && idp.kind == ONE_TIME_PIN) {
            return Ok(&pin.id);
        }
        let known = || idps.iter().map(|idp| (idp.id.as_str(), idp.name.as_str()));
        let place = find(known(), wanted).map_err(|found| match found {
            0 if wanted == ONE_TIME_PIN => {
                "the account has no one-time PIN to sign in with; add it in Zero Trust under Settings, Authentication".to_owned()
            }
            _ => not_found("an identity provider", wanted, found, known()),
        })?;
        idps.get(place).map(|idp| &idp.id).ok_or_else(|| unread("the identity providers", IDENTITY_RIGHT))
    }

    /// Returns its service tokens, or why they are not known.
    pub fn all_tokens(&self) -> Result<&'a [ServiceToken], String> {
        self.tokens.ok_or_else(|| unread("the service tokens of the account", TOKENS_RIGHT))
    }

    /// Returns the service token of an id or a name, or why there is none.
    pub fn token(&self, wanted: &str) -> Result<&'a ServiceToken, String> {
        let tokens = self.all_tokens()?;
        let known = || tokens.iter().map(|token| (token.id.as_str(), token.name.as_str()));
        let place =
            find(known(), wanted).map_err(|found| not_found("a service token", wanted, found, known()))?;
        tokens.get(place).ok_or_else(|| unread("the service tokens", TOKENS_RIGHT))
    }

    /// Returns the address of whoever owns the account, or why it is not known.
    pub(super) fn owner(&self) -> Result<&'a str, String> {
        self.owner.ok_or_else(|| OWNER_NOT_READ.to_owned())?.address()
    }
}

fn unread(what: &str, right: &str) -> String {
    format!("{what} could not be read; give the Cloudflare token the right `{right}`")
}

/// Returns the place of what has this id, or else this name in any case; else how many have it.
fn find<'k>(known: impl Iterator<Item = (&'k str, &'k str)> + Clone, wanted: &str) -> Result<usize, usize> {
    if let Some(place) = known.clone().position(|(id, _)| id == wanted) {
        return Ok(place);
    }
    let wanted = wanted.trim().to_lowercase();
    let has_name = |(_, (_, name)): &(usize, (&str, &str))| name.trim().to_lowercase() == wanted;
    let places: Vec<usize> = known.enumerate().filter(has_name).map(|(place, _)| place).collect();
    match places[..] {
        [place] => Ok(place),
        _ => Err(places.len()),
    }
}

fn not_found<'k>(
    what: &str,
    wanted: &str,
    found: usize,
    known: impl Iterator<Item = (&'k str, &'k str)>,
) -> String {
    let wanted = repeated(wanted);
    if found > 1 {
        return format!("`{wanted}` is the name of {found} of them; name {what} by its id");
    }
    let names: Vec<String> = known.map(|(_, name)| format!("`{}`", repeated(name))).take(10).collect();
    let there =
        if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
    format!("the account has no `{wanted}` as {what}; {there}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idp(id: &str, name: &str, kind: &str) -> IdentityProvider {
        IdentityProvider { id: IdentityProviderId::new(id), name: name.into(), kind: kind.into() }
    }

    #[test]
    fn names_and_ids_are_found_and_what_is_not_found_says_what_there_is() {
        let idps = [
            idp("1", "Google", "google"),
            idp("2", "Twice", "github"),
            idp("3", "twice", "oidc"),
            idp("4", "One-time PIN", "onetimepin"),
            idp("5", "2", "oidc"),
        ];
        let account = Account { idps: Some(&idps), ..Account::default() };
        for (wanted, id) in [("1", "1"), ("google", "1"), (" Google ", "1"), ("onetimepin", "4"), ("2", "2")]
        {
            assert_eq!(account.idp(wanted).unwrap().as_str(), id, "{wanted}");
        }
        assert!(account.idp("Twice").unwrap_err().contains("name of 2"));
        let missing = account.idp("Okta").unwrap_err();
        assert!(missing.contains("no `Okta`") && missing.contains("`Google`"), "{missing}");
        let without_pin = Account { idps: Some(&idps[..3]), ..Account::default() };
        assert!(without_pin.idp("onetimepin").unwrap_err().contains("no one-time PIN"));
    }

    #[test]
    fn what_could_not_be_read_names_the_missing_right() {
        let account = Account::default();
        assert!(account.idp("1").unwrap_err().contains(IDENTITY_RIGHT));
        assert!(account.token("1").unwrap_err().contains(TOKENS_RIGHT));
        assert!(account.owner().unwrap_err().contains("was not read yet"));
        let owner = Owner::Known("a@example.com".into());
        let none = Account { tokens: Some(&[]), owner: Some(&owner), ..account };
        assert!(none.token("ci").unwrap_err().contains("it has none"));
        assert_eq!(none.owner(), Ok("a@example.com"));
    }
}
