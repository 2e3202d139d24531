// SPDX-License-Identifier: MIT
#include "core/resolve/explanation.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/source/source.h"

namespace pkgfs {
namespace {

constexpr std::size_t kMostLines = 10;
constexpr std::size_t kMostShown = 3;  // of versions or packages in a list

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

/// `a`, `a and b`, `a, b and c`, `a, b, c and 2 more`.
std::string list_of(const std::vector<std::string>& parts, const std::string& conjunction) {
  std::string text = parts.front();
  const bool is_cut = parts.size() > kMostShown + 1;
  const std::size_t shown = is_cut ? kMostShown : parts.size();
  for (std::size_t i = 1; i < shown; ++i) {
    text += (i + 1 == parts.size() ? " " + conjunction + " " : ", ") + parts[i];
  }
  return is_cut ? text + " " + conjunction + " " + std::to_string(parts.size() - shown) + " more" : text;
}

/// Says incompatibilities in words.
class Words {
 public:
  explicit Words(const PackageTable& table) : table_(table) {}

  [[nodiscard]] std::string say(const Incompatibility& what) const {
    switch (what.kind) {
      case Incompatibility::Kind::kDependency:
        return dependants(what) + " depends on " + dependency(what);
      case Incompatibility::Kind::kUnavailable:
        return dependants(what) + " depends on " + quoted(what.specifier->to_string()) + ", " + lack(what);
      case Incompatibility::Kind::kCycle:
        return cycle(what);
      case Incompatibility::Kind::kLearned:
        break;
    }
    return conclusion(what.terms);
  }

  [[nodiscard]] std::string conclusion(const std::vector<Term>& terms) const {
    std::vector<std::string> present;
    std::vector<std::string> required;
    for (const Term& term : terms) {
      if (!term.positive) {
        required.push_back(versions(term));
      } else if (term.name != 0) {
        present.push_back(versions(term));
      }
    }
    if (!required.empty()) {
      present = present.empty() ? std::vector{root()} : std::move(present);
      return list_of(present, "and") + (present.size() == 1 ? " requires " : " together require ") +
             list_of(required, "or");
    }
    if (present.empty()) {
      return "no choice of versions satisfies all dependencies below " + root();
    }
    return list_of(present, "and") + (present.size() == 1 ? " can't be chosen" : " can't be chosen together");
  }

 private:
  /// A root without a name has a hash of 64 digits, which tells a reader nothing.
  [[nodiscard]] std::string root() const {
    const PackageId& id = table_[{0, 0}].pkg->id;
    return id.named() != nullptr ? quoted(id.to_string()) : "the root package";
  }

  /// `"a@1.0.0"`, `"a" 2.0.0 or 1.0.0`, `any "a@^1"`, or the root.
  [[nodiscard]] std::string versions(const Term& term) const {
    const PackageTable::Name& name = table_.name(term.name);
    std::vector<const PackageId*> ids;
    for (const std::size_t version : term.versions.items()) {
      const PackageId& id = name.versions[version].pkg->id;
      if (std::none_of(ids.begin(), ids.end(), [&](const PackageId* other) { return *other == id; })) {
        ids.push_back(&id);
      }
    }
    if (ids.size() == 1) {
      return *ids.front() == table_[{0, 0}].pkg->id ? root() : quoted(ids.front()->to_string());
    }
    const auto same = std::find_if(name.sets.begin(), name.sets.end(),
                                   [&](const PackageTable::NamedSet& set) { return set.versions == term.versions; });
    if (ids.size() > kMostShown && same != name.sets.end()) {
      return "any " + quoted(same->specifier);
    }
    const NamedId* named = ids.front()->named();
    return named != nullptr ? quoted(named->full_name) + " " + newest_first(ids) : newest_first(ids);
  }

  static std::string newest_first(std::vector<const PackageId*> ids) {
    std::sort(ids.begin(), ids.end(), [](const PackageId* a, const PackageId* b) { return *b < *a; });
    std::vector<std::string> texts;
    texts.reserve(ids.size());
    for (const PackageId* id : ids) {
      texts.push_back(id->named() != nullptr ? id->named()->version.to_string() : id->to_string());
    }
    return list_of(texts, "or");
  }

  [[nodiscard]] std::string dependants(const Incompatibility& what) const {
    const auto positive =
        std::find_if(what.terms.begin(), what.terms.end(), [](const Term& term) { return term.positive; });
    return versions(*positive);
  }

  /// `"a@^1"`, with the versions that satisfy it if they are few and the requirement doesn't say them.
  static std::string dependency(const Incompatibility& what) {
    const std::string text = quoted(what.specifier->to_string());
    const NamedIdent* ident = what.specifier->named();
    std::vector<const PackageId*> ids;
    ids.reserve(what.candidates->by_preference.size());
    for (const PackageSummary* candidate : what.candidates->by_preference) {
      ids.push_back(&candidate->pkg.id);
    }
    const bool is_clear = ident != nullptr && ident->requirement().is_exact() && ids.size() == 1;
    return is_clear || ids.size() > kMostShown ? text : text + " (" + newest_first(ids) + ")";
  }

  static std::string lack(const Incompatibility& what) {
    const QueryError::Kind kind = what.candidates->error->kind();
    const bool has_versions = what.specifier->named() != nullptr &&
                              (kind == QueryError::Kind::kNoMatches || kind == QueryError::Kind::kUnusable);
    return has_versions ? "which no usable version matches" : "which no source has";
  }

  [[nodiscard]] std::string cycle(const Incompatibility& what) const {
    std::vector<std::string> members;
    members.reserve(what.terms.size());
    for (const Term& term : what.terms) {
      members.push_back(versions(term));
    }
    return members.size() == 1 ? members.front() + " depends on itself"
                               : list_of(members, "and") + " depend on each other in a cycle";
  }

  const PackageTable& table_;
};

/// The derivation, from the last conclusion to its reasons.
class Derivation {
 public:
  Derivation(const Incompatibilities& incompatibilities, const PackageTable& table)
      : all_(incompatibilities), words_(table) {}

  std::vector<std::string> lines() {
    std::vector<std::size_t> waiting = {all_.size() - 1};
    while (!waiting.empty()) {
      const std::size_t next = waiting.back();
      waiting.pop_back();
      const Incompatibility& learned = all_[next];
      if (learned.kind == Incompatibility::Kind::kLearned && known_.insert(next).second) {
        add(learned);
        for (const Incompatibility::Step& step : learned.steps) {
          waiting.push_back(step.with);
        }
        waiting.push_back(learned.first);
      }
    }
    if (steps_ > kMostLines) {
      lines_.resize(kMostLines - 1);
      lines_.push_back("the other " + std::to_string(steps_ - lines_.size()) +
                       " steps of this explanation are left out");
    }
    return std::move(lines_);
  }

 private:
  /// Adds a line for each step, the last step first, as long as there is room for lines.
  void add(const Incompatibility& learned) {
    steps_ += learned.steps.size();
    if (lines_.size() >= kMostLines) {
      return;
    }
    std::vector<Incompatibility> conclusions = {all_[learned.first]};
    for (const Incompatibility::Step& step : learned.steps) {
      conclusions.push_back({.terms = resolvent(conclusions.back().terms, all_[step.with].terms, step.name)});
    }
    for (std::size_t i = learned.steps.size(); i > 0 && lines_.size() < kMostLines; --i) {
      lines_.push_back(words_.say(conclusions[i]) + ", because " + words_.say(conclusions[i - 1]) + ", and " +
                       words_.say(all_[learned.steps[i - 1].with]));
    }
  }

  const Incompatibilities& all_;
  Words words_;
  std::set<std::size_t> known_;
  std::size_t steps_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> explain(const Incompatibilities& incompatibilities, const PackageTable& table) {
  return Derivation(incompatibilities, table).lines();
}

}  // namespace pkgfs
