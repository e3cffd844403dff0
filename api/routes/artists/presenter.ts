/** In api/catalogue, where the three that name each other are side by side. */
export { ARTIST, presentArtistSummary } from "../../catalogue/presenter.js";
