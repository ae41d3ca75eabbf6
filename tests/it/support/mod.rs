//! What the product tests share.
