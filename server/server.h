/* server.h - the shell around the coordinator: sockets, disk, processes and time.
 *
 * One loop thread owns everything here, but for snapshots and stores: those are read and written by
 * the lanes of the disk (disk.h), which the loop gives jobs to. The journal it writes itself: a
 * commit takes 0.2 to 0.4 ms, and nothing that comes after may happen before. What happens becomes
 * an event for the coordinator; the actions it answers with are carried out in order (perform.c).
 * Trouble met while carrying them out becomes an event too, but a later one: it waits in
 * `troubles`. Messages come in by dispatch.c, operators' words by operator.c, what others may see
 * goes out by report.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdint.h>

#include "common/config.h"
#include "common/rate_limit.h"
#include "common/status.h"
#include "proto/endpoint.h"
#include "server/actions.h"
#include "server/coordinator.h"
#include "server/disk.h"
#include "server/evaluation_watch.h"
#include "server/feed.h"
#include "server/helpers.h"
#include "server/journal.h"
#include "server/learning_report.h"
#include "server/parameter_store.h"
#include "server/process_watch.h"
#include "server/run_folder.h"
#include "server/shard_watch.h"
#include "server/snapshot_traffic.h"
#include "server/store_scan.h"
#include "server/vitals.h"

/* An event that came up while actions were carried out. */
struct trouble {
    enum coordinator_event_kind kind;
    uint64_t number;               /* connection, worker or generation */
    char name[JOURNAL_NAME_BYTES]; /* snapshot */
    char reason[256];
};

struct server {
    const struct config *config; /* borrowed */
    char *directory;             /* of the run */
    uint64_t run;
    struct journal *journal;
    struct parameter_store *store; /* the disk's, while it runs */
    struct run_folder *folder;
    struct store_scan *scan; /* the disk's, too */
    struct disk *disk;
    struct snapshot_traffic traffic;
    struct shard_watch shard_watch;
    struct gate *gate; /* NULL: the run has no keys */
    struct endpoint *control;
    struct feed *feed;
    struct vitals vitals;
    struct learning_report learning;
    struct evaluation_watch evaluations;
    struct rate_limit event_limit;
    struct helpers helpers[HELPERS_LAUNCHES];
    struct process_watch watch;
    int signals; /* signalfd */
    struct coordinator *coordinator;
    struct key asker; /* who sent the message that is being handled; without a gate an operator */
    struct actions actions;
    struct {
        int is_due;
        int64_t due_us; /* when members have heard of it */
        struct journal_step step;
        struct actions plans; /* sends of steps that nobody begins yet */
    } late; /* decided and told; its flushes, its report and plans are left (perform_late) */
    uint32_t trouble_count, trouble_capacity;
    struct trouble *troubles;
    int64_t tick_ms;   /* last tick */
    int64_t report_ms; /* last report and look at the stores */
    int stop_count;    /* signals to stop so far */
    int is_finished;
    enum status
        status; /* once not OK nothing more may happen: the journal failed, or it begins again */
    char words[256]; /* why */
};

/* Opens everything and restores the run from its journal. ERR_INPUT, ERR_IO, ERR_CORRUPT. config is
 * borrowed for the server's life. */
enum status server_create(const struct config *config, const char *directory,
                          struct server **ret_server);
void server_destroy(struct server *server); /* NULL is fine */
/* Serves until the run is finished or stopped (SIGTERM, SIGINT): OK. A second signal: ERR_END.
 * ERR_STALE: it has to be destroyed and created again, to read the whole journal. */
enum status server_run(struct server *server);

/* For the parts of the shell. */
/* Gives an event to the coordinator, carries out what it wants, then what troubles that made. */
void server_handle(struct server *server, const struct coordinator_event *event);
/* Notes an event for later; copied. */
void server_add_trouble(struct server *server, const struct trouble *trouble);

#endif
