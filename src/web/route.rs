//! How a path is declared: methods with their handlers; `HEAD`, `OPTIONS` and 405 come by themselves.
//!
//! A handler whose first argument does not say who may call it is not accepted by the compiler.

use actix_web::dev::AppService;
use actix_web::dev::HttpServiceFactory;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard, web};

use super::error::ApiError;

/// Marks the extractors that name who may call: see `auth`.
pub trait Caller {}

/// Argument lists that begin with a [`Caller`].
pub trait Guarded {}

macro_rules! guarded {
    ($($rest:ident)*) => { impl<First: Caller, $($rest),*> Guarded for (First, $($rest,)*) {} };
}
guarded!();
guarded!(A);
guarded!(A B);
guarded!(A B C);
guarded!(A B C D);
guarded!(A B C D E);

/// One path with its methods.
pub struct At {
    resource: Resource,
    methods: Vec<Method>,
}

/// Begins the declaration of `path`.
pub fn at(path: &str) -> At {
    At { resource: web::resource(path), methods: vec![Method::OPTIONS] }
}

impl At {
    /// `GET`, and `HEAD` with the same handler.
    pub fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::HEAD, handler.clone()).on(Method::GET, handler)
    }

    /// `GET` alone, for handlers that change something; add `HEAD` with [`At::head`].
    pub fn get_only<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::GET, handler)
    }

    /// `HEAD`.
    pub fn head<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::HEAD, handler)
    }

    /// `POST`.
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::POST, handler)
    }

    /// `PUT`.
    pub fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::PUT, handler)
    }

    /// `DELETE`.
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::DELETE, handler)
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Guarded + 'static,
        F::Output: Responder + 'static,
    {
        self.methods.push(method.clone());
        self.resource = self.resource.route(web::method(method).to(handler));
        self
    }
}

impl HttpServiceFactory for At {
    fn register(self, config: &mut AppService) {
        let mut names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        names.sort_unstable();
        let allow = names.join(", ");
        let options = allow.clone();
        self.resource
            .route(web::route().guard(guard::Options()).to(move || {
                let allow = options.clone();
                async move { HttpResponse::Ok().insert_header((header::ALLOW, allow)).finish() }
            }))
            .default_service(web::to(move |_: HttpRequest| {
                let allow = allow.clone();
                async move {
                    let mut answer = HttpResponse::from_error(ApiError::MethodNotAllowed);
                    if let Ok(value) = header::HeaderValue::from_str(&allow) {
                        answer.headers_mut().insert(header::ALLOW, value);
                    }
                    answer
                }
            }))
            .register(config);
    }
}
