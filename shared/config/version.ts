// Which version of the product this is, as its package says.
import manifest from "../../package.json" with { type: "json" };

export const VERSION: string = manifest.version;
