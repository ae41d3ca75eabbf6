//! The product as its users meet it: one binary, one folder of support, one file per topic.

mod layering;
mod support;
