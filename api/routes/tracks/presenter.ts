/** In api/catalogue, where the three that name each other are side by side. */
export { presentTrack, TRACK } from "../../catalogue/presenter.js";
