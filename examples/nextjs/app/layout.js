import "./style.css";

export const metadata = {
  title: "Hello from Next.js",
  description: "A page made on the server, with a counter that runs in the browser",
};

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
