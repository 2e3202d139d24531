// SPDX-License-Identifier: MIT
// Replays a fixed series of FUSE requests against a package, without a kernel, and counts what answering them costs.
//   bench_replay [--registry DIRECTORY] PACKAGE            heap allocations, in the threads of a mount
//   bench_replay --profile [--registry DIRECTORY] PACKAGE  one pass of each kind on one thread, for callgrind with
//                                                          --instr-atstart=no --collect-atstart=no: a dump a phase
//   bench_replay ... --threads ...                         in a process that has had another thread: libc then locks
//                                                          more, as in a mount
//   bench_replay ... --fetched ENDPOINT PACKAGE            of a registry: PACKAGE is opened lazily, with an empty
//   cache,
//                                                          and replayed once all of it is fetched
// Prints
// {"toolchain":{...},"passes":{"cold":{"lookup":{"requests":1,"allocations":0,"libfuse_allocations":1,"ns":1},...},"warm":{...}},
// "stacks":[[...]]}: the stacks are of the first allocations when warm. "cold" is the first touch of a tree, by listing
// it and, for "lookup" and "absent", by name.
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <gnu/libc-version.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "daemon/cli/logging.h"
#include "daemon/commands/program.h"
#include "daemon/packages/lazy_packages.h"
#include "daemon/packages/open_tree.h"
#include "tests/bench/allocations.h"
#include "tests/bench/profile.h"
#include "tests/support/fuse/kernel.h"

namespace pkgfs::bench {
namespace {

using test::Kernel;
using test::Reply;
using Json = nlohmann::json;

constexpr int kWarmPasses = 3;
constexpr std::uint32_t kListing = 32768;  // bytes of one answer
constexpr std::uint32_t kRead = 131072;

/// What a tree shows, in the order of a walk in which the entries of a directory follow each other.
struct Item {
  std::size_t parent = 0;
  std::string name;
  bool directory = false;
  std::size_t first = 0;  // of its entries
  std::size_t count = 0;
};

/// The tree, its adapter, and the requests of each kind. A phase is many of one kind.
class Replay {
 public:
  Replay(const std::string& package, const TreeFlags& flags, bool profile, std::vector<Item>& items)
      : opened_(open_tree(package, flags, Io::process())),
        adapter_(*opened_.tree.file_system, statistics_, {.usage = [] { return count_here(); }}),
        profile_(profile),
        items_(items),
        kernel_(adapter_, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, profile ? nullptr : &kServers) {
    (void)kernel_.ask(FUSE_STATFS, FUSE_ROOT_ID, "", 0);  // on the thread that answers: only that one counts
  }

  /// Waits until all packages are whole. Throws std::runtime_error if one was never lazy, or doesn't become whole.
  void fetch_all() const {
    const auto sources = lazy_sources(opened_.tree);
    if (sources.empty()) {
      throw std::runtime_error("the package isn't lazy");
    }
    for (const auto& source : sources) {
      source->begin_background();
      for (int i = 0; source->state() != LazySource::State::kWhole; ++i) {
        if (i == 6000) {
          throw std::runtime_error("the package doesn't become whole: " + source->problem());
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  }

  /// Runs a phase and adds what it cost to `pass`.
  void run(Json& pass, const std::string& pass_name, const std::string& kind) {
    static const std::map<std::string, void (Replay::*)()> kPhases{{"readdirplus", &Replay::readdirplus},
                                                                   {"readdir", &Replay::readdir},
                                                                   {"lookup", &Replay::lookup},
                                                                   {"absent", &Replay::absent},
                                                                   {"getattr", &Replay::getattr},
                                                                   {"open", &Replay::open},
                                                                   {"read", &Replay::read},
                                                                   {"forget", &Replay::forget}};
    requests_ = 0;
    const allocations::Counts before = allocations::count();
    const auto begin = std::chrono::steady_clock::now();
    (this->*kPhases.at(kind))();
    const auto end = std::chrono::steady_clock::now();
    settle();
    allocations::Counts cost = allocations::count() - before;
    cost.libfuse -= 1;  // of `settle`
    if (profile_) {
      profile::dump(pass_name + " " + kind);
    }
    Json& sum = pass[kind];
    if (sum.is_null()) {
      sum = Json::object();
    }
    const auto add = [&sum](const char* what, std::uint64_t number) {
      sum[what] = sum.value(what, std::uint64_t{0}) + number;
    };
    add("requests", requests_);
    if (!profile_) {
      add("allocations", cost.own);
      add("libfuse_allocations", cost.libfuse);
      add("ns", static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count()));
    }
  }

 private:
  static fuse::Usage count_here() {
    allocations::count_this_thread();
    return {};
  }

  inline static const fuse::ServerOptions kServers{.threads = 1, .poll = false};

  Reply ask(fuse_opcode opcode, std::size_t item, const void* body, std::size_t size) {
    tell(opcode, item, body, size);
    Reply reply = kernel_.receive();
    if (reply.error != 0) {
      throw std::runtime_error("opcode " + std::to_string(opcode) + " of \"" + name(item) + "\": errno " +
                               std::to_string(reply.error));
    }
    return reply;
  }

  void tell(fuse_opcode opcode, std::size_t item, const void* body, std::size_t size) {
    ++requests_;
    kernel_.send(opcode, nodes_[item], body, size);
    if (profile_) {
      profile::collect(true);
      kernel_.serve();
      profile::collect(false);
    }
  }

  /// Waits for the work that a server does after a reply: it is done when the next reply comes.
  void settle() {
    const fuse_getattr_in getattr{};
    (void)kernel_.ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr));
  }

  [[nodiscard]] const char* name(std::size_t item) const {
    return item < items_.size() ? items_[item].name.c_str() : "";
  }

  /// Lists every directory to its end. The first time of all, this makes `items_`.
  void readdirplus() {
    if (items_.empty()) {
      items_.push_back({.parent = 0, .name = {}, .directory = true});
    }
    for (std::size_t dir = 0; dir < items_.size(); ++dir) {
      if (items_[dir].directory) {
        list(dir);
      }
    }
  }

  void list(std::size_t dir) {
    const bool known = items_[dir].count > 0;
    std::size_t at = known ? items_[dir].first : items_.size();
    items_[dir].first = at;
    fuse_read_in read{};
    read.size = kListing;
    for (Reply part = ask(FUSE_READDIRPLUS, dir, &read, sizeof(read)); !part.body.empty();
         part = ask(FUSE_READDIRPLUS, dir, &read, sizeof(read))) {
      for (std::size_t begin = 0; begin < part.body.size();) {
        fuse_direntplus entry{};
        std::memcpy(&entry, part.body.data() + begin, sizeof(entry));
        std::string text = part.body.substr(begin + FUSE_NAME_OFFSET_DIRENTPLUS, entry.dirent.namelen);
        read.offset = entry.dirent.off;
        begin += FUSE_DIRENTPLUS_SIZE(&entry);
        if (text == "." || text == "..") {
          continue;
        }
        if (at == items_.size()) {
          items_.push_back({.parent = dir, .name = std::move(text), .directory = S_ISDIR(entry.entry_out.attr.mode)});
        } else if (items_[at].name != text || items_[at].parent != dir) {
          throw std::runtime_error("listed twice, a directory differs at \"" + text + "\"");
        }
        nodes_.resize(items_.size());
        nodes_[at++] = entry.entry_out.nodeid;
      }
    }
    items_[dir].count = at - items_[dir].first;
  }

  void readdir() {
    for (std::size_t dir = 0; dir < items_.size(); ++dir) {
      fuse_read_in read{};
      read.size = kListing;
      while (items_[dir].directory) {
        const Reply part = ask(FUSE_READDIR, dir, &read, sizeof(read));
        if (part.body.empty()) {
          break;
        }
        for (std::size_t begin = 0; begin < part.body.size();) {
          fuse_dirent entry{};
          std::memcpy(&entry, part.body.data() + begin, sizeof(entry));
          read.offset = entry.off;
          begin += FUSE_DIRENT_SIZE(&entry);
        }
      }
    }
  }

  void lookup() {
    nodes_.resize(items_.size());
    for (std::size_t item = 1; item < items_.size(); ++item) {
      const std::string& text = items_[item].name;
      nodes_[item] = ask(FUSE_LOOKUP, items_[item].parent, text.c_str(), text.size() + 1).as<fuse_entry_out>().nodeid;
      if (nodes_[item] == 0) {
        throw std::runtime_error("not found: " + text);
      }
    }
  }

  void absent() {
    for (std::size_t item = 1; item < items_.size(); ++item) {
      const std::string text = items_[item].name + ".absent";
      if (ask(FUSE_LOOKUP, items_[item].parent, text.c_str(), text.size() + 1).as<fuse_entry_out>().nodeid != 0) {
        throw std::runtime_error("found: " + text);
      }
    }
  }

  void getattr() {
    const fuse_getattr_in body{};
    for (std::size_t item = 0; item < items_.size(); ++item) {
      (void)ask(FUSE_GETATTR, item, &body, sizeof(body));
    }
  }

  /// Opens and closes all items. If the daemon answers that nothing has to be opened, there is nothing to close.
  void open() {
    const fuse_open_in body{};
    for (std::size_t item = 0; item < items_.size(); ++item) {
      const bool directory = items_[item].directory;
      tell(directory ? FUSE_OPENDIR : FUSE_OPEN, item, &body, sizeof(body));
      if (const Reply reply = kernel_.receive(); reply.error == 0) {
        fuse_release_in release{};
        release.fh = reply.as<fuse_open_out>().fh;
        (void)ask(directory ? FUSE_RELEASEDIR : FUSE_RELEASE, item, &release, sizeof(release));
      }
    }
  }

  void read() {
    fuse_read_in body{};
    body.size = kRead;
    for (std::size_t item = 0; item < items_.size(); ++item) {
      if (!items_[item].directory) {
        (void)ask(FUSE_READ, item, &body, sizeof(body));
      }
    }
  }

  /// One after the other and, as the kernel prefers it, many at once.
  void forget() {
    constexpr std::size_t kAtOnce = 16;
    struct {
      fuse_batch_forget_in in;
      std::array<fuse_forget_one, kAtOnce> all;
    } batch{};
    for (std::size_t item = 1; item < items_.size(); ++item) {
      const fuse_forget_in one{.nlookup = 1};
      tell(FUSE_FORGET, item, &one, sizeof(one));
      batch.all.at(batch.in.count++) = {.nodeid = nodes_[item], .nlookup = 1};
      if (batch.in.count == kAtOnce) {
        tell(FUSE_BATCH_FORGET, 0, &batch, sizeof(batch));
        batch.in.count = 0;
      }
    }
  }

  OpenedTree opened_;
  fuse::Statistics statistics_;
  fuse::Adapter adapter_;
  bool profile_;
  std::vector<Item>& items_;
  Kernel kernel_;
  std::vector<std::uint64_t> nodes_{FUSE_ROOT_ID};  // of the items, as far as they are known
  std::uint64_t requests_ = 0;
};

/// What instructions depend on.
Json toolchain() {
  return {{"compiler", __VERSION__},
          {"libstdc++", __GLIBCXX__},
          {"glibc", ::gnu_get_libc_version()},
          {"libfuse", ::fuse_pkgversion()},
#ifdef NDEBUG
          {"build", "optimised"}};
#else
          {"build", "for debugging"}};
#endif
}

int replay(std::vector<std::string> words) {
  bool profile = false;
  bool is_fetched = false;
  TreeFlags flags;
  flags.network.offline = true;
  while (words.size() > 1 && words[0].starts_with("--")) {
    if (words[0] == "--profile") {
      profile = true;
    } else if (words[0] == "--registry" && words.size() > 2) {
      flags.network.registries = {words[1]};
      words.erase(words.begin());
    } else if (words[0] == "--threads") {
      std::thread([] {}).join();
    } else if (words[0] == "--fetched" && words.size() > 2) {
      is_fetched = true;
      flags.network.offline = false;
      flags.network.registries = {words[1]};
      flags.lazy = Lazy::kOn;
      words.erase(words.begin());
    } else {
      break;
    }
    words.erase(words.begin());
  }
  if (words.size() != 1 || words[0].starts_with("--")) {
    std::fprintf(stderr,
                 "usage: bench_replay [--profile] [--threads] [--registry DIRECTORY | --fetched ENDPOINT] PACKAGE\n");
    return 2;
  }
  set_log_level({.level = "off"});  // it would be mixed with what is printed
  Json passes = {{"cold", Json::object()}, {"warm", Json::object()}};
  std::vector<Item> items;
  Replay first(words[0], flags, profile, items);
  Replay by_name(words[0], flags, profile, items);
  if (is_fetched) {
    first.fetch_all();
    by_name.fetch_all();
  }
  if (profile) {
    profile::start();
  }
  for (const char* kind : {"readdirplus", "getattr", "open", "read", "forget"}) {
    first.run(passes["cold"], "cold", kind);
  }
  for (const char* kind : {"lookup", "absent"}) {
    by_name.run(passes["cold"], "cold", kind);
  }
  allocations::keep_stacks();
  for (int pass = 0; pass < (profile ? 1 : kWarmPasses); ++pass) {
    for (const char* kind : {"lookup", "absent", "getattr", "open", "readdirplus", "readdir", "read", "forget"}) {
      first.run(passes["warm"], "warm", kind);
    }
  }
  std::printf("%s\n",
              Json{{"toolchain", toolchain()}, {"passes", passes}, {"stacks", allocations::stacks()}}.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace pkgfs::bench

int main(int argc, char** argv) {
  try {
    return pkgfs::bench::replay(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_replay: %s\n", error.what());
    return 1;
  }
}
