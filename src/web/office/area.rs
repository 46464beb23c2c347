//! An area of the office: its line in the menu and its routes, each with the permission it needs.

use std::sync::Arc;

use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodRouter, get, post},
};

use super::Office;
use crate::desk::people::Permission;

/// A line of the menu; shown to whoever has the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MenuItem {
    /// What it says.
    pub label: &'static str,
    /// Where it leads.
    pub path: &'static str,
    /// Who sees it.
    pub may: Permission,
}

/// What a route takes in a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: a GET.
    Nothing,
    /// An ordinary form.
    Form,
    /// A form with files (`multipart/form-data`).
    Files,
}

/// A route as the table of permissions has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// Method.
    pub method: Method,
    /// Path, with `{parameters}`.
    pub path: &'static str,
    /// What is needed.
    pub may: Permission,
    /// What it takes.
    pub takes: Takes,
}

/// An area: build it with [`Area::new`], then `.menu`, `.get`, `.post`, `.files`.
#[derive(Debug, Default)]
pub struct Area {
    pub(super) items: Vec<MenuItem>,
    pub(super) routes: Vec<(RouteRule, MethodRouter<Arc<Office>>)>,
}

impl Area {
    /// An area without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line in the menu.
    #[must_use]
    pub fn menu(mut self, label: &'static str, path: &'static str, may: Permission) -> Self {
        self.items.push(MenuItem { label, path, may });
        self
    }

    /// A page, a part of one or a file to read. It must not change anything.
    #[must_use]
    pub fn get<H, T>(self, path: &'static str, may: Permission, handler: H) -> Self
    where
        H: Handler<T, Arc<Office>>,
        T: 'static,
    {
        self.with(Method::GET, path, may, Takes::Nothing, get(handler))
    }

    /// A form sent. The handler takes [`super::Form`].
    #[must_use]
    pub fn post<H, T>(self, path: &'static str, may: Permission, handler: H) -> Self
    where
        H: Handler<T, Arc<Office>>,
        T: 'static,
    {
        self.with(Method::POST, path, may, Takes::Form, post(handler))
    }

    /// A form with files sent (`enctype="multipart/form-data"`). The handler takes [`super::Form`] and asks it for the file.
    #[must_use]
    pub fn files<H, T>(self, path: &'static str, may: Permission, handler: H) -> Self
    where
        H: Handler<T, Arc<Office>>,
        T: 'static,
    {
        self.with(Method::POST, path, may, Takes::Files, post(handler))
    }

    fn with(mut self, method: Method, path: &'static str, may: Permission, takes: Takes, router: MethodRouter<Arc<Office>>) -> Self {
        self.routes.push((RouteRule { method, path, may, takes }, router));
        self
    }
}
