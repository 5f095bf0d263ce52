import { Bell } from "./Bell";
import { Connection } from "./Connection";
import { Publish } from "./Publish";
import { Toasts } from "./Toasts";

/** All four use the hook, and share one connection. */
export function App() {
  return (
    <>
      <header className="bar">
        <h1>Campanile with React</h1>
        <Connection />
        <Bell />
      </header>
      <main>
        <Publish />
      </main>
      <Toasts />
    </>
  );
}
