//! The project that the caller's key belongs to.

pub(crate) mod get;
pub(crate) mod pause;
pub(crate) mod update;

use delivery_log::access::Project;

fn present(project: &Project) -> api_types::Project {
    api_types::Project {
        name: project.name.to_string(),
        unknown_tenant: project.unknown_tenant.as_str().to_owned(),
        undeclared_types: project.undeclared_types.as_str().to_owned(),
        validation: project.validation.as_str().to_owned(),
        retention_days: project.retention_days,
        paused_at: project.paused_at,
        created_at: project.created_at,
        updated_at: project.updated_at,
    }
}
