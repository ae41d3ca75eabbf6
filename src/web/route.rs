//! How a path is declared: methods with their handlers; `HEAD`, `OPTIONS` and 405 come by themselves.
//!
//! A handler whose first argument does not say who may call it is not accepted by the compiler. That argument is decided
//! before anything else of the request is looked at: the framework alone reads all arguments at once, and whoever may not
//! call would now and then be told what is wrong with the body.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::dev::{AppService, HttpServiceFactory, Payload};
use actix_web::http::{Method, header};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard, web};

use super::error::ApiError;

/// Marks the extractors that name who may call: see `auth`.
pub trait Caller {}

/// Argument lists that begin with a [`Caller`].
pub trait Guarded: Sized + 'static {
    /// Who calls.
    type First: Caller + FromRequest<Future: Unpin>;
    /// The other arguments.
    type Rest: FromRequest<Future: Unpin>;

    /// Puts them together.
    fn join(first: Self::First, rest: Self::Rest) -> Self;
}

macro_rules! guarded {
    ($($rest:ident)*) => {
        impl<First, $($rest),*> Guarded for (First, $($rest,)*)
        where
            First: Caller + FromRequest<Future: Unpin> + 'static,
            ($($rest,)*): FromRequest<Future: Unpin> + 'static,
        {
            type First = First;
            type Rest = ($($rest,)*);

            #[allow(non_snake_case, reason = "the types are named after the arguments")]
            fn join(first: First, ($($rest,)*): Self::Rest) -> Self {
                (first, $($rest,)*)
            }
        }
    };
}
guarded!();
guarded!(A);
guarded!(A B);
guarded!(A B C);
guarded!(A B C D);
guarded!(A B C D E);

/// The arguments of a handler, the caller first.
struct InOrder<Args>(Args);

impl<Args: Guarded> FromRequest for InOrder<Args> {
    type Error = actix_web::Error;
    type Future = Reading<Args>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = Args::First::from_request(req, &mut Payload::None);
        Reading::Caller { caller, req: req.clone(), payload: payload.take() }
    }
}

/// No box and no `async` block: it is part of every heartbeat.
enum Reading<Args: Guarded> {
    Caller { caller: <Args::First as FromRequest>::Future, req: HttpRequest, payload: Payload },
    Rest { caller: Option<Args::First>, rest: <Args::Rest as FromRequest>::Future },
}

impl<Args: Guarded> Unpin for Reading<Args> {}

impl<Args: Guarded> Future for Reading<Args> {
    type Output = Result<InOrder<Args>, actix_web::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Self::Caller { caller, req, payload } = this {
            let caller = ready!(Pin::new(caller).poll(cx)).map_err(Into::into)?;
            *this = Self::Rest { caller: Some(caller), rest: Args::Rest::from_request(req, payload) };
        }
        let Self::Rest { caller, rest } = this else { unreachable!("it became this one just now") };
        let rest = ready!(Pin::new(rest).poll(cx)).map_err(Into::into)?;
        let caller = caller.take().expect("nobody asks again after the answer");
        Poll::Ready(Ok(InOrder(Args::join(caller, rest))))
    }
}

/// A handler that gets its arguments from [`InOrder`].
struct Admitting<F, Args>(F, PhantomData<fn(Args)>);

impl<F: Clone, Args> Clone for Admitting<F, Args> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<F: Handler<Args>, Args: Guarded> Handler<InOrder<Args>> for Admitting<F, Args> {
    type Output = F::Output;
    type Future = F::Future;

    fn call(&self, args: InOrder<Args>) -> Self::Future {
        self.0.call(args.0)
    }
}

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
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.on(Method::HEAD, handler.clone()).on(Method::GET, handler)
    }

    /// `GET` alone, for handlers that change something; add `HEAD` with [`At::head`].
    pub fn get_only<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.on(Method::GET, handler)
    }

    /// `HEAD`.
    pub fn head<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.on(Method::HEAD, handler)
    }

    /// `POST`.
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.on(Method::POST, handler)
    }

    /// `PUT`.
    pub fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.on(Method::PUT, handler)
    }

    /// `DELETE`.
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.on(Method::DELETE, handler)
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: Guarded,
        F::Output: Responder + 'static,
    {
        self.methods.push(method.clone());
        self.resource = self.resource.route(web::method(method).to(Admitting(handler, PhantomData)));
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
