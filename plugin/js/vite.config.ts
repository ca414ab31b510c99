import { defineConfig } from "vite";

/** What the App has, and gives as globals: a copy in the bundle would be another React, with no hooks. */
const GLOBALS = {
  react: "React",
  "react-dom": "ReactDOM",
  recoil: "recoil",
  "@mui/material": "__mui__",
  "@fiftyone/operators": "__foo__",
  "@fiftyone/plugins": "__fop__",
  "@fiftyone/state": "__fos__",
};

export default defineConfig({
  define: { "process.env.NODE_ENV": '"production"' },
  esbuild: { jsx: "transform", legalComments: "none" },
  build: {
    lib: {
      entry: "src/index.ts",
      name: "alphaclip",
      formats: ["umd"],
      fileName: () => "index.umd.js",
    },
    rollupOptions: { external: Object.keys(GLOBALS), output: { globals: GLOBALS } },
  },
});
