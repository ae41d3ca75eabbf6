//! Supervised actors on actix; knows nothing of the product.
