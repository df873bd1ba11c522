//! Retry policies.

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When failed deliveries are tried again. What is not given is as in `standard`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicyRequest {
    /// Its name, of which a project has one. Only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The wait after the first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_seconds: Option<f64>,
    /// How many times longer each wait is than the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<f64>,
    /// The longest wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval_seconds: Option<f64>,
    /// The share by which a wait may be shorter or longer, 0 to 0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 0.5)]
    pub jitter: Option<f64>,
    /// For how long tries are made; a last one is made at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<f64>,
    /// How long a call may take, unless its endpoint says otherwise; 1 to 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 30)]
    pub timeout_seconds: Option<u64>,
    /// Answers which say that the request itself is wrong: few tries, and no sign of a sick endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent_statuses: Option<Vec<u16>>,
    /// The waits between tries after such answers; none for a single try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent_waits_seconds: Option<Vec<f64>>,
}

/// A retry policy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RetryPolicy {
    /// Its name.
    pub name: String,
    /// Whether every project has it; such a policy cannot be changed.
    pub built_in: bool,
    /// The wait after the first failure.
    pub initial_seconds: f64,
    /// How many times longer each wait is than the one before.
    pub multiplier: f64,
    /// The longest wait.
    pub max_interval_seconds: f64,
    /// The share by which a wait may be shorter or longer.
    #[schema(minimum = 0, maximum = 0.5)]
    pub jitter: f64,
    /// For how long tries are made.
    pub max_age_seconds: f64,
    /// How long a call may take, unless its endpoint says otherwise.
    #[schema(minimum = 1, maximum = 30)]
    pub timeout_seconds: u64,
    /// Answers which say that the request itself is wrong.
    pub permanent_statuses: Vec<u16>,
    /// The waits between tries after such answers.
    pub permanent_waits_seconds: Vec<f64>,
    /// When it was made; none for what every project has.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

/// All retry policies of a project.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RetryPolicies {
    /// Those that every project has, then its own by their names.
    pub data: Vec<RetryPolicy>,
}
