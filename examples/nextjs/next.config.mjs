/** @type {import("next").NextConfig} */
export default {
  // A server with only what it needs, in .next/standalone
  output: "standalone",
  poweredByHeader: false,
};
