/** In api/catalogue, where the three that name each other are side by side. */
export { presentArtist, presentArtistSummary } from "../../catalogue/presenter.js";
