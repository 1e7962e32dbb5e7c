//! What of the installation a caller may see: all of it, or the services of its tenants with their
//! sessions. Whatever belongs to no service, or to one that nobody knows, is the operators' alone.

use std::{collections::BTreeSet, sync::Arc};

use homing_wire::{Facts, Service, ServiceId};

/// What a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Option<Arc<BTreeSet<String>>>);

impl Scope {
    /// Everything.
    #[must_use]
    pub fn operator() -> Self {
        Self(None)
    }

    /// What belongs to these tenants.
    #[must_use]
    pub fn of(tenants: impl IntoIterator<Item = String>) -> Self {
        Self(Some(Arc::new(tenants.into_iter().collect())))
    }

    /// Whether it is everything.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.0.is_none()
    }

    /// The tenants' names; none for an operator.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|tenants| tenants.iter().map(String::as_str))
    }

    /// Whether a service is within it.
    #[must_use]
    pub fn sees(&self, service: &Service) -> bool {
        self.0.as_ref().is_none_or(|tenants| tenants.contains(&service.tenant))
    }

    /// Whether the service of that number is within it.
    #[must_use]
    pub fn sees_id(&self, facts: &Facts, service: ServiceId) -> bool {
        self.is_operator()
            || facts.services.get(service.index()).is_some_and(|service| self.sees(service))
    }

    /// Whether something of the service of that name is within it; `None` is of all together.
    #[must_use]
    pub fn sees_named(&self, facts: &Facts, service: Option<&str>) -> bool {
        let seen = |name: &str| facts.services.iter().any(|s| s.name == name && self.sees(s));
        self.is_operator() || service.is_some_and(seen)
    }
}
