/** In api/catalogue, where the three that name each other are side by side. */
export { presentAlbum, presentAlbumSummary } from "../../catalogue/presenter.js";
