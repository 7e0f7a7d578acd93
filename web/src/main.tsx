import { render } from "preact";
import "@fontsource-variable/bricolage-grotesque/index.css";
import "@fontsource-variable/inter/index.css";
import "./ui/base.css";
import "./ui/controls.css";
import "./ui/avatar.css";
import "./ui/dialog.css";
import "./ui/auth.css";
import "./ui/house.css";
import "./ui/sidebar.css";
import "./ui/room.css";
import "./ui/panel.css";
import "./ui/message.css";
import * as live from "./state/live";
import { App } from "./ui/App";

live.start();
const place = document.getElementById("app");
if (place) render(<App />, place);
