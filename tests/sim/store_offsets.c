/*
 * store_offsets.c -- the table kafka_offsets: whose partitions they are, and how far they are read.
 */
#include "tests/sim/store_inside.h"

static struct str key_of(struct sim_store *store, struct str group, struct str topic,
                         struct str partition)
{
    return store_key(store, store_key(store, group, topic), partition);
}

static struct offset_row *find(struct sim_store *store, struct str key)
{
    struct map_node *node = map_find(&store->offsets, key);
    return node ? container_of(node, struct offset_row, node) : NULL;
}

static void remove_row(struct sim_store *store, void *object)
{
    map_remove(&store->offsets, &((struct offset_row *)object)->node);
}

static struct offset_row *insert(struct sim_store *store, struct str key,
                                 const struct sim_offset_row *row)
{
    struct offset_row *new = arena_new(&store->sim->arena, struct offset_row);
    new->row = *row;
    map_add(&store->offsets, &new->node, store_lasting(store, key));
    store_on_undo(store, remove_row, new);
    table_add(store, &store->offset_rows, new);
    return new;
}

/* group, topic, partitions, lows, owner */
bool statement_own(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells partitions = store_column(store, params[2]), lows = store_column(store, params[3]);
    for (size_t i = 0; i < partitions.count; i++) {
        struct str key = key_of(store, params[0], params[1], partitions.items[i]);
        struct offset_row *row = find(store, key);
        if (row) {
            store_keep(store, &row->row, sizeof(row->row));
            row->row.epoch++;
            row->row.owner = params[4];
        } else {
            row = insert(
                store, key,
                &(struct sim_offset_row){.group = params[0],
                                         .topic = params[1],
                                         .owner = params[4],
                                         .partition = (int32_t)store_int(partitions.items[i]),
                                         .next_offset = store_int(lows.items[i]),
                                         .epoch = 1});
        }
        struct str *cells = sim_rows_add(ret, 3);
        cells[0] = partitions.items[i];
        cells[1] = store_number(store, row->row.next_offset);
        cells[2] = store_number(store, row->row.epoch);
    }
    return true;
}

/* group, topic, partitions */
bool statement_offsets(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells partitions = store_column(store, params[2]);
    for (size_t i = 0; i < partitions.count; i++) {
        const struct offset_row *row =
            find(store, key_of(store, params[0], params[1], partitions.items[i]));
        if (!row)
            continue;
        struct str *cells = sim_rows_add(ret, 3);
        cells[0] = partitions.items[i];
        cells[1] = store_number(store, row->row.next_offset);
        cells[2] = store_number(store, row->row.epoch);
    }
    return true;
}

/* group, topic, partitions, epochs, froms, tos */
bool statement_fence(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells partitions = store_column(store, params[2]),
                 epochs = store_column(store, params[3]), froms = store_column(store, params[4]),
                 tos = store_column(store, params[5]);
    for (size_t i = 0; i < partitions.count; i++) {
        struct offset_row *row =
            find(store, key_of(store, params[0], params[1], partitions.items[i]));
        if (!row || row->row.epoch != store_int(epochs.items[i]) ||
            row->row.next_offset != store_int(froms.items[i])) {
            store->fenced++;
            return store_refuse(store, "QF001", "fenced: not all of the partitions are ours");
        }
        store_keep(store, &row->row, sizeof(row->row));
        row->row.next_offset = store_int(tos.items[i]);
    }
    sim_rows_add(ret, 1);
    return true;
}

/* group, topic, partition, offset, owner */
bool statement_first_assigned(struct sim_store *store, const struct str *params,
                              struct sim_rows *ret)
{
    struct str key = key_of(store, params[0], params[1], params[2]);
    struct offset_row *row = find(store, key);
    struct str *cells = sim_rows_add(ret, 2);
    cells[1] = row ? STR("0") : STR("1");
    if (!row)
        row = insert(store, key,
                     &(struct sim_offset_row){.group = params[0],
                                              .topic = params[1],
                                              .owner = params[4],
                                              .partition = (int32_t)store_int(params[2]),
                                              .next_offset = store_int(params[3])});
    cells[0] = store_number(store, row->row.next_offset);
    return true;
}
