//! A thin client of the Cloudflare API.
