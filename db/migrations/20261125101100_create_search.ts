import type { Knex } from "knex";

/**
 * The search index, and the notes of what in it is out of date. Whoever writes the catalogue writes one short row of
 * ids per statement, nothing else: no lock that another writer could want, no index entry per name. See docs/adr/0016.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table search_documents (
      entity text collate "C" not null,
      entity_id bigint not null,
      name text collate "C" not null,
      words tsvector not null,
      popularity integer not null,
      tier smallint not null,
      constraint search_documents_pkey primary key (entity_id, entity),
      constraint search_documents_known_entity check (entity in ('artist', 'album', 'track')),
      constraint search_documents_known_tier check (tier between 0 and 2)
    ) with (fillfactor = 85);
    create index search_documents_words on search_documents using gin (words) with (fastupdate = off);
    create index search_documents_popular_words on search_documents using gin (words) with (fastupdate = off) where tier <= 1;
    create index search_documents_top_words on search_documents using gin (words) with (fastupdate = off) where tier = 0;
    create index search_documents_name on search_documents (hashtextextended(name, 0), tier);
    comment on table search_documents is 'What can be found: one row per artist, album and track. Written by services/search/ alone, from the catalogue.';
    comment on column search_documents.name is 'the title or name as services/search/words.ts reads it: words without case, accents and signs';
    comment on column search_documents.words is 'words of the name and of its artist; of scripts without spaces, pairs of characters; without positions';
    comment on column search_documents.popularity is 'copied from the catalogue row, to be sorted by without a look at it';
    comment on column search_documents.tier is '0: the few thousand most popular, 1: the next, 2: the rest; see search_tiers';

    create table search_words (
      word text collate "C" not null,
      documents integer not null,
      near integer[] not null,
      constraint search_words_pkey primary key (word)
    );
    create index search_words_near on search_words using gin (near) with (fastupdate = off);
    comment on table search_words is 'Words that a misspelt one may stand for';
    comment on column search_words.documents is 'how many rows of search_documents have it';
    comment on column search_words.near is 'hashes of the word, and of the word without each one of its letters';

    create table search_tiers (
      tier smallint not null,
      min_popularity integer not null,
      min_id bigint not null,
      constraint search_tiers_pkey primary key (tier),
      constraint search_tiers_known_tier check (tier between 0 and 1)
    );
    comment on table search_tiers is 'A document is of the first tier whose (min_popularity, min_id) its popularity and entity_id reach';
    insert into search_tiers (tier, min_popularity, min_id) values (0, 0, 0), (1, 0, 0);

    create table search_changes (
      id bigint generated always as identity,
      entity text not null,
      ids bigint[] not null,
      renamed boolean not null,
      constraint search_changes_pkey primary key (id),
      constraint search_changes_known_entity check (entity in ('artist', 'album', 'track'))
    );
    comment on table search_changes is 'Catalogue rows that search_documents has to be made anew for; a row per statement that wrote them';
    comment on column search_changes.renamed is 'of artists: their albums and tracks are out of date, too';

    create function note_catalogue_insert() returns trigger language plpgsql as $$
    begin
      insert into search_changes (entity, ids, renamed)
      select tg_argv[0], array_agg(id), false
        from (select id, (row_number() over () - 1) / 5000 as piece from added) a group by piece;
      return null;
    end $$;
    comment on function note_catalogue_insert() is 'once a statement; in pieces, so that a row of search_changes is a bounded piece of work';

    create function note_artist_update() returns trigger language plpgsql as $$
    begin
      insert into search_changes (entity, ids, renamed)
      select 'artist', array_agg(id), renamed
        from (select id, renamed, (row_number() over () - 1) / 5000 as piece
                from (select id, false as renamed from (
                        select id, popularity from after_change except select id, popularity from before_change) c
                      union all
                      select id, true from (
                        select id, name from after_change except select id, name from before_change) c) u) p
       group by piece, renamed;
      return null;
    end $$;
    comment on function note_artist_update() is
      'by except and not by a join: its plan is kept, and one made for a single row would compare each of many with each other';

    create function note_title_update() returns trigger language plpgsql as $$
    begin
      insert into search_changes (entity, ids, renamed)
      select tg_argv[0], array_agg(id), false
        from (select id, (row_number() over () - 1) / 5000 as piece
                from (select id, title, artist_id, popularity from after_change
                      except select id, title, artist_id, popularity from before_change) c) p
       group by piece;
      return null;
    end $$;

    create function note_catalogue_delete() returns trigger language plpgsql as $$
    begin
      insert into search_changes (entity, ids, renamed)
      select tg_argv[0], array_agg(id), false
        from (select id, (row_number() over () - 1) / 5000 as piece from gone) g group by piece;
      return null;
    end $$;

    create function note_alias() returns trigger language plpgsql as $$
    declare
      -- The rows are of three tables; what they have in common is read by name.
      alias jsonb := to_jsonb(coalesce(new, old));
    begin
      insert into search_changes (entity, ids, renamed)
      values (tg_argv[0], array[(alias ->> (tg_argv[0] || '_id'))::bigint], true);
      return null;
    end $$;
    comment on function note_alias() is 'for each row: only editors write aliases, a few at a time';

    create trigger artists_search_insert after insert on artists referencing new table as added
      for each statement execute function note_catalogue_insert('artist');
    create trigger albums_search_insert after insert on albums referencing new table as added
      for each statement execute function note_catalogue_insert('album');
    create trigger tracks_search_insert after insert on tracks referencing new table as added
      for each statement execute function note_catalogue_insert('track');
    create trigger artists_search_update after update on artists referencing old table as before_change new table as after_change
      for each statement execute function note_artist_update();
    create trigger albums_search_update after update on albums referencing old table as before_change new table as after_change
      for each statement execute function note_title_update('album');
    create trigger tracks_search_update after update on tracks referencing old table as before_change new table as after_change
      for each statement execute function note_title_update('track');
    create trigger artists_search_delete after delete on artists referencing old table as gone
      for each statement execute function note_catalogue_delete('artist');
    create trigger albums_search_delete after delete on albums referencing old table as gone
      for each statement execute function note_catalogue_delete('album');
    create trigger tracks_search_delete after delete on tracks referencing old table as gone
      for each statement execute function note_catalogue_delete('track');
    create trigger artist_aliases_search after insert or update or delete on artist_aliases
      for each row execute function note_alias('artist');
    create trigger album_aliases_search after insert or update or delete on album_aliases
      for each row execute function note_alias('album');
    create trigger track_aliases_search after insert or update or delete on track_aliases
      for each row execute function note_alias('track');

    insert into search_changes (entity, ids, renamed)
    select entity, array_agg(id order by id), false
      from (select entity, id, (row_number() over (partition by entity order by id) - 1) / 5000 as piece
              from (select 'artist' as entity, id from artists
                    union all select 'album', id from albums
                    union all select 'track', id from tracks) c) p
     group by entity, piece order by entity, piece;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger track_aliases_search on track_aliases;
    drop trigger album_aliases_search on album_aliases;
    drop trigger artist_aliases_search on artist_aliases;
    drop trigger tracks_search_delete on tracks;
    drop trigger albums_search_delete on albums;
    drop trigger artists_search_delete on artists;
    drop trigger tracks_search_update on tracks;
    drop trigger albums_search_update on albums;
    drop trigger artists_search_update on artists;
    drop trigger tracks_search_insert on tracks;
    drop trigger albums_search_insert on albums;
    drop trigger artists_search_insert on artists;
    drop function note_alias();
    drop function note_catalogue_delete();
    drop function note_title_update();
    drop function note_artist_update();
    drop function note_catalogue_insert();
    drop table search_changes, search_tiers, search_words, search_documents;
  `);
}
