//! The reporter under moved time.
