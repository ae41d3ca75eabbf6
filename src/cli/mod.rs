//! The command line: builds everything and starts the trees.
