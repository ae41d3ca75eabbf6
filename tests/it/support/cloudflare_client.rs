//! The product's own client, talking to the stand-in.

use lightship::cloudflare::Cloudflare;
use lightship::domain::id::AccountId;
use lightship::io::Io;

use super::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};

impl CloudflareStandIn {
    /// Makes a client of the product that knows account and token.
    pub fn client(&self, io: Io) -> Cloudflare {
        rustls::crypto::ring::default_provider().install_default().ok();
        let token = TOKEN.to_owned().into();
        Cloudflare::new(&self.base_url(), AccountId::new(ACCOUNT), token, io).unwrap()
    }
}
