#include "files/npz.hpp"

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "files/npy.hpp"
#include "files/zip_archive.hpp"

namespace outrigger::files {
namespace {

constexpr std::string_view suffix = ".npy";
constexpr std::uint64_t listed_max = 10;

std::string_view array_name(std::string_view member) {
  if (member.ends_with(suffix)) member.remove_suffix(suffix.size());
  return member;
}

/// Calls f(index, name) for each member.
template <typename F>
void for_each_member(const ZipArchive& archive, F&& f) {
  const std::uint64_t count = archive.entry_count();
  for (std::uint64_t index = 0; index < count; ++index) {
    if (const auto name = archive.member_name(index)) f(index, *name);
  }
}

/// The text `"a", "b" and 3 more`.
std::string list_members(const ZipArchive& archive) {
  std::string list;
  std::uint64_t count = 0;
  for_each_member(archive, [&](std::uint64_t, const std::string& name) {
    if (++count > listed_max) return;
    if (count > 1) list += ", ";
    list += in_quotes(array_name(name));
  });
  if (count > listed_max) list += " and " + std::to_string(count - listed_max) + " more";
  return count == 0 ? "no arrays" : "the arrays " + list;
}

Result<std::uint64_t> only_member(const ZipArchive& archive) {
  std::uint64_t count = 0;
  std::uint64_t last = 0;
  for_each_member(archive, [&](std::uint64_t index, const std::string&) {
    ++count;
    last = index;
  });
  if (count == 1) return last;
  return bad_file(archive.name(), (count == 0 ? "has " : "needs a member to be named; it has ") +
                                      list_members(archive));
}

Result<std::uint64_t> find_member(const ZipArchive& archive, const std::string& wanted) {
  std::optional<std::uint64_t> exact;
  std::optional<std::uint64_t> with_suffix;
  for_each_member(archive, [&](std::uint64_t index, const std::string& name) {
    if (name == wanted) exact = index;
    if (name.ends_with(suffix) && array_name(name) == wanted) with_suffix = index;
  });
  if (exact) return *exact;
  if (with_suffix) return *with_suffix;
  return bad_file(archive.name(),
                  "has no member " + in_quotes(wanted) + "; it has " + list_members(archive));
}

}  // namespace

Result<Tensor> read_npz(Memory& memory, File file, const std::optional<std::string>& member,
                        const Check& check) {
  OUTRIGGER_TRY(const ZipArchive archive, ZipArchive::open(std::move(file)));
  OUTRIGGER_TRY(const std::uint64_t index,
                member ? find_member(archive, *member) : only_member(archive));
  const std::string member_name = archive.member_name(index).value_or("");
  OUTRIGGER_TRY(const std::unique_ptr<Source> source,
                archive.open_member(index, "member " + in_quotes(array_name(member_name)) + " of " +
                                               archive.name()));
  return read_npy(memory, *source, check);
}

Result<Tensor> load_npz(Memory& memory, const std::string& path,
                        const std::optional<std::string>& member) {
  OUTRIGGER_TRY(File file, File::open(path));
  return read_npz(memory, std::move(file), member);
}

}  // namespace outrigger::files
