/** In api/catalogue, where the three that name each other are side by side. */
export { ALBUM, presentAlbumSummary } from "../../catalogue/presenter.js";
