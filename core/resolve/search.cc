// SPDX-License-Identifier: MIT
// Pass 2 of the solver.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/resolve/solver.h"

namespace pkgfs {
namespace {

/// A depth-first search over the choices for a queue of dependencies, first in, first out. It changes one draft and
/// undoes the changes; frame i holds the alternatives for queue entry i. A choice is skipped as soon as it can't lead
/// to a solution, which shortens the search but doesn't change its result.
class Search {
 public:
  Search(const PackageInfo& root, Catalog& catalog) : catalog_(catalog), draft_(root) { remember_name(root.id); }

  std::optional<Draft> run() {
    enqueue(0);
    if (is_hopeless(0)) {
      return std::nullopt;
    }
    std::vector<Frame> frames;
    while (frames.size() < queue_.size()) {
      frames.push_back(enter(frames.size()));
      while (!advance(frames.back(), frames.size() - 1)) {
        frames.pop_back();
        if (frames.empty()) {
          return std::nullopt;
        }
      }
    }
    return std::move(draft_);
  }

 private:
  struct Pending {
    std::size_t parent;
    std::size_t dependency;
  };
  struct Frame {
    const Candidates* candidates;
    std::size_t next = 0;
    // The state before this frame.
    std::size_t nodes;
    std::size_t queued;
    bool linked = false;
  };

  const PackageSpecifier& specifier_of(const Pending& pending) const {
    return draft_.nodes[pending.parent].pkg->dependencies[pending.dependency].specifier;
  }
  const Candidates& candidates_of(const Pending& pending) {
    return catalog_.of(*draft_.nodes[pending.parent].pkg, pending.dependency);
  }

  Frame enter(std::size_t at) {
    const Candidates& candidates = candidates_of(queue_[at]);
    if (candidates.is_broken()) {
      throw BrokenDependency(unresolved(specifier_of(queue_[at]), *candidates.error));
    }
    return {&candidates, 0, draft_.nodes.size(), queue_.size(), false};
  }

  /// Takes the next alternative that can lead to a solution; false, with everything undone, if there is none.
  bool advance(Frame& frame, std::size_t at) {
    undo(frame, at);
    while (frame.next < frame.candidates->by_preference.size()) {
      if (apply(frame, at, *frame.candidates->by_preference[frame.next++])) {
        return true;
      }
      undo(frame, at);
    }
    return false;
  }

  bool apply(Frame& frame, std::size_t at, const PackageSummary& candidate) {
    const std::size_t parent = queue_[at].parent;
    auto target = draft_.find(candidate.pkg.id);
    const bool is_new = !target;
    if (is_new && is_name_taken(candidate.pkg.id)) {
      return false;
    }
    if (++states_ > limits::kResolveStates) {
      throw LimitError("backtrack_states", states_, limits::kResolveStates);
    }
    if (!is_new && reaches(draft_, *target, parent)) {
      return false;
    }
    if (is_new) {
      target = draft_.add(candidate);
      remember_name(candidate.pkg.id);
      if (draft_.nodes.size() > limits::kResolvePackages) {
        throw LimitError("packages", draft_.nodes.size(), limits::kResolvePackages);
      }
      enqueue(*target);
      const std::size_t waiting = queue_.size() - at - 1;
      if (waiting > limits::kResolvePending) {
        throw LimitError("pending_dependencies", waiting, limits::kResolvePending);
      }
    }
    draft_.nodes[parent].targets.push_back(*target);
    frame.linked = true;
    return !is_new || (!is_hopeless(*target) && !is_refused(candidate.pkg.id, at + 1));
  }

  void undo(Frame& frame, std::size_t at) {
    if (frame.linked) {
      draft_.nodes[queue_[at].parent].targets.pop_back();
      frame.linked = false;
    }
    queue_.resize(frame.queued);
    while (draft_.nodes.size() > frame.nodes) {
      if (const NamedId* id = draft_.nodes.back().pkg->id.named()) {
        chosen_.erase(id->full_name);
      }
      draft_.remove_last();
    }
  }

  void enqueue(std::size_t node) {
    for (std::size_t i = 0; i < draft_.nodes[node].pkg->dependencies.size(); ++i) {
      queue_.push_back({node, i});
    }
  }

  /// Whether a dependency of `node` has no candidate, or none that fits the packages chosen so far.
  bool is_hopeless(std::size_t node) {
    const PackageInfo& pkg = *draft_.nodes[node].pkg;
    for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
      const Candidates& candidates = catalog_.of(pkg, i);
      if (candidates.is_broken()) {
        continue;  // fails when its turn comes; an older version must not hide it
      }
      if (candidates.error != nullptr) {
        return true;
      }
      if (const NamedIdent* ident = pkg.dependencies[i].specifier.named()) {
        const auto chosen = chosen_.find(ident->full_name());
        if (chosen != chosen_.end() && !candidates.contains(*chosen->second)) {
          return true;
        }
      }
    }
    return false;
  }

  /// Whether a dependency in the queue requires another version of `id`.
  bool is_refused(const PackageId& id, std::size_t from) {
    if (id.named() == nullptr) {
      return false;
    }
    for (std::size_t i = from; i < queue_.size(); ++i) {
      const NamedIdent* ident = specifier_of(queue_[i]).named();
      if (ident == nullptr || !is_called(*ident, id.named()->full_name)) {
        continue;
      }
      const Candidates& candidates = candidates_of(queue_[i]);
      if (!candidates.is_broken() && !candidates.contains(id)) {
        return true;
      }
    }
    return false;
  }

  static bool is_called(const NamedIdent& ident, std::string_view full_name) {
    if (!full_name.ends_with(ident.name)) {
      return false;  // early, because the message is expensive to build
    }
    return ident.full_name() == full_name;
  }

  bool is_name_taken(const PackageId& id) const {
    return id.named() != nullptr && chosen_.contains(id.named()->full_name);
  }

  void remember_name(const PackageId& id) {
    if (id.named() != nullptr) {
      chosen_.emplace(id.named()->full_name, &id);
    }
  }

  Catalog& catalog_;
  Draft draft_;
  std::vector<Pending> queue_;
  std::unordered_map<std::string, const PackageId*> chosen_;
  std::size_t states_ = 0;
};

}  // namespace

std::optional<Draft> search(const PackageInfo& root, Catalog& catalog) { return Search(root, catalog).run(); }

}  // namespace pkgfs
