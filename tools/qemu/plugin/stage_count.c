// Counts the instructions a program executes on arm64, by the stages it marks (../README.md).
//
// A mark is a system call Linux does not have; its first argument says what the calling thread executed since its last
// mark. Only what one thread executes between a begin and an end mark, a region, counts.
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

#ifndef PLUGIN_API
#error PLUGIN_API: 1 for QEMU 7.2 to 8, 2 from QEMU 9 on
#endif

enum { mark_number = 0x1a77a, mark_other = -1, mark_begin = 0x100, mark_end = 0x101 };
enum { stages = 5, other = stages, buckets };
static const char* const bucket_names[buckets] = {"prepare", "scores", "softmax", "values", "output", "other"};

/// A translation block: instructions that are executed one after the other.
struct block {
  uint64_t address;
  uint64_t instructions;
  uint64_t pending;             ///< executions since the last mark
  struct block* next_pending;   ///< in the list of blocks executed since the last mark
  uint64_t executions[buckets]; ///< in this region
  struct block* next_in_region; ///< in the list of blocks executed in this region
  bool in_region;
};

static FILE* out;
static bool with_blocks;
static const char* error;

static volatile bool counting;
static unsigned owner; ///< the thread whose region it is
static struct block *pending_blocks, *region_blocks;
static uint64_t counts[buckets];
static uint64_t foreign; ///< instructions of other threads
static unsigned regions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

static void fail(const char* text) {
  if (!error)
    error = text;
}

static void block_executed(unsigned vcpu, void* user) {
  if (!counting)
    return;
  struct block* block = user;
  if (vcpu != owner) {
    __atomic_fetch_add(&foreign, block->instructions, __ATOMIC_RELAXED);
    return;
  }
  if (block->pending++ == 0) {
    block->next_pending = pending_blocks;
    pending_blocks = block;
  }
}

static void block_translated(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  struct block* block = calloc(1, sizeof *block); // lives as long as the code that refers to it: to the end
  if (!block) {
    fprintf(stderr, "stage_count: out of memory\n");
    exit(1);
  }
  block->address = qemu_plugin_tb_vaddr(tb);
  block->instructions = qemu_plugin_tb_n_insns(tb);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, block_executed, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void attribute(int bucket) {
  for (struct block* block = pending_blocks; block; block = block->next_pending) {
    counts[bucket] += block->pending * block->instructions;
    block->executions[bucket] += block->pending;
    block->pending = 0;
    if (!block->in_region) {
      block->in_region = true;
      block->next_in_region = region_blocks;
      region_blocks = block;
    }
  }
  pending_blocks = NULL;
  counts[bucket] -= 1; // the mark's own svc
}

static void write_region(void) {
  uint64_t total = 0;
  for (int bucket = 0; bucket < buckets; ++bucket)
    total += counts[bucket];
  fprintf(out, "%s\n{\"total\":%" PRIu64 ",\"foreign\":%" PRIu64 ",\"stages\":{", regions ? "," : "", total, foreign);
  for (int bucket = 0; bucket < buckets; ++bucket)
    fprintf(out, "%s\"%s\":%" PRIu64, bucket ? "," : "", bucket_names[bucket], counts[bucket]);
  fputs("}", out);
  if (with_blocks) {
    const char* separator = "";
    fputs(",\"blocks\":[", out);
    for (struct block* block = region_blocks; block; block = block->next_in_region) {
      fprintf(out, "%s\n[%" PRIu64 ",%" PRIu64, separator, block->address, block->instructions);
      for (int bucket = 0; bucket < buckets; ++bucket)
        fprintf(out, ",%" PRIu64, block->executions[bucket]);
      fputs("]", out);
      separator = ",";
    }
    fputs("]", out);
  }
  fputs("}", out);
  ++regions;
}

static void begin(unsigned vcpu) {
  if (counting) {
    fail("a region begins inside another");
    return;
  }
  memset(counts, 0, sizeof counts);
  while (region_blocks) {
    struct block* block = region_blocks;
    region_blocks = block->next_in_region;
    memset(block->executions, 0, sizeof block->executions);
    block->in_region = false;
  }
  foreign = 0;
  owner = vcpu;
  counting = true;
}

static void end(unsigned vcpu) {
  if (!counting || vcpu != owner) {
    fail("a region ends that this thread has not begun");
    return;
  }
  attribute(other);
  counting = false;
  write_region();
}

static void system_call(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                        uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != mark_number)
    return;
  const int64_t mark = (int32_t)a1;
  pthread_mutex_lock(&lock);
  if (mark == mark_begin)
    begin(vcpu);
  else if (mark == mark_end)
    end(vcpu);
  else if (mark < mark_other || mark >= stages)
    fail("a mark that is no stage");
  else if (counting && vcpu == owner)
    attribute(mark == mark_other ? other : (int)mark);
  pthread_mutex_unlock(&lock);
}

static void program_exits(qemu_plugin_id_t id, void* user) {
  (void)id, (void)user;
  if (counting)
    fail("the program ends inside a region");
  fputs("],\n\"error\":", out);
  fprintf(out, error ? "\"%s\"}\n" : "null}\n", error);
  if (fclose(out) != 0)
    perror("stage_count: out");
}

/// Arguments: out=FILE for the counts as JSON; blocks=on adds [address, instructions, executions by stage] of every
/// translation block.
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                               char** argv) {
  if (strcmp(info->target_name, "aarch64") != 0) {
    fprintf(stderr, "stage_count: expected programs for aarch64, received %s\n", info->target_name);
    return 1;
  }
  const char* path = NULL;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "out=", 4) == 0)
      path = argv[i] + 4;
    else if (strcmp(argv[i], "blocks=on") == 0)
      with_blocks = true;
    else if (strcmp(argv[i], "blocks=off") != 0) {
      fprintf(stderr, "stage_count: expected out=FILE or blocks=on|off, received %s\n", argv[i]);
      return 1;
    }
  }
  out = path ? fopen(path, "w") : NULL;
  if (!out) {
    fprintf(stderr, "stage_count: expected out=FILE that can be written, received %s\n", path ? path : "nothing");
    return 1;
  }
  fputs("{\"regions\":[", out);
  qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
  qemu_plugin_register_vcpu_syscall_cb(id, system_call);
  qemu_plugin_register_atexit_cb(id, program_exits, NULL);
  return 0;
}
