/** In api/catalogue, where the three that name each other are side by side. */
export { presentTrack } from "../../catalogue/presenter.js";
