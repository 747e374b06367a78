//! See the package's README line in the workspace.
