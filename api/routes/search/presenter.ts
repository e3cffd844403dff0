import type { SearchPage, SearchResult } from "../../../services/search/SearchService.js";
import { presentAlbumSummary } from "../albums/presenter.js";
import { presentArtistSummary } from "../artists/presenter.js";
import { presentTrack } from "../tracks/presenter.js";

export const presentPage = ({ data, nextCursor }: SearchPage) => ({
  data: data.map(presentResult),
  nextCursor,
});

const presentResult = (result: SearchResult) => ({
  type: result.type,
  score: result.score,
  item: presentItem(result),
});

function presentItem(result: SearchResult) {
  switch (result.type) {
    case "artist":
      return presentArtistSummary(result.item);
    case "album":
      return presentAlbumSummary(result.item);
    case "track":
      return presentTrack(result.item);
  }
}
