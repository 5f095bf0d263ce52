import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

import { proxy } from "./hub";

export default defineConfig(({ command }) => ({
  plugins: [react()],
  // The page and the hub share an origin, as they do behind a reverse proxy in production.
  server: { proxy: command === "serve" ? proxy() : {}, fs: { allow: [".", "../../static"] } },
  // Here "campanile" is a link to ../../static. Installed from a registry it needs neither this nor `fs`.
  resolve: { dedupe: ["react"] },
}));
