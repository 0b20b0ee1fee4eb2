// What `--data` names for verbs that go by the host agent's own data folder.

export const DATA_FLAG =
  "data folder of the host agent or of `mesh up` (default: MESH_DATA_DIR, or the user's own; of a pause the service's too)";
