//! The key that a master shows when an agent registers: orders that change the host are known by it.

use tracing::{error, info};

use crate::domain::id::AgentId;
use crate::domain::order::KeyOffer;
use crate::updates::{Hands, KeyNews, KeyWas};

/// Shows it to whoever carries orders out. What cannot be kept is shown again with the next registration.
pub(super) async fn offer(hands: &dyn Hands, offer: &KeyOffer, agent: &AgentId) -> Option<KeyNews> {
    let news = match hands.offer_key(offer, agent).await {
        Ok(news) => news,
        Err(problem) => {
            error!(reason = %problem.reason, "the key of the master cannot be kept; orders that change this host are refused");
            return None;
        }
    };
    match news.was {
        KeyWas::Same => {}
        KeyWas::First => {
            info!(key = %news.shown, "orders that change this host are known by the master's key from now on")
        }
        KeyWas::Exchanged => {
            info!(key = %news.shown, "the master exchanged its key, as the one before says; the new one is trusted");
        }
        KeyWas::Refused => error!("{}", distrust(&news)),
    }
    Some(news)
}

/// Says what is wrong with a key that is not trusted.
pub(super) fn distrust(news: &KeyNews) -> String {
    if news.trusted.as_ref() == Some(&news.shown) {
        return format!(
            "the helper on this host takes orders for another agent, and this one registered anew: its orders are refused; if \
             that was done on purpose, run `lightship trust-key {}` on the host",
            news.shown
        );
    }
    let trusted = news.trusted.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    format!(
        "the master shows the key {}, and this host trusts {trusted} for this agent: its orders are refused; if that was \
         done on purpose, run `lightship trust-key {}` on the host",
        news.shown, news.shown
    )
}
