#include "kernel/native/object.hpp"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

namespace outrigger::kernel {
namespace {

/// Functions that LLVM makes of loops.
constexpr std::size_t outside_count = 3;
constexpr std::array<std::string_view, outside_count> outside_names{"memset", "memcpy", "memmove"};
std::uint64_t outside_address(std::size_t number) {
  if (number == 0) return reinterpret_cast<std::uint64_t>(&std::memset);
  if (number == 1) return reinterpret_cast<std::uint64_t>(&std::memcpy);
  return reinterpret_cast<std::uint64_t>(&std::memmove);
}

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

class Reader {
 public:
  Reader(std::span<const std::uint8_t> object, const std::string& entry)
      : object_(object), entry_name_(entry) {}

  tl::expected<Image, std::string> run() {
    if (!headers() || !place() || !symbols() || !relocations())
      return tl::make_unexpected(std::move(problem_));
    if (image_.entry == nowhere) return tl::make_unexpected("it has no function " + entry_name_);
    return std::move(image_);
  }

 private:
  bool refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  /// Reads a struct at any place; false if the object ends before.
  template <typename T>
  bool read(std::uint64_t at, T& to) const {
    if (at > object_.size() || object_.size() - at < sizeof(T)) return false;
    std::memcpy(&to, object_.data() + at, sizeof(T));
    return true;
  }
  bool inside(const Elf64_Shdr& section) const {
    return section.sh_offset <= object_.size() &&
           section.sh_size <= object_.size() - section.sh_offset;
  }

  bool headers() {
    Elf64_Ehdr header;
    if (object_.size() > object_bytes_max) return refuse("it is too large");
    if (!read(0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_type != ET_REL || header.e_machine != EM_X86_64 ||
        header.e_shentsize != sizeof(Elf64_Shdr))
      return refuse("it is no object for this processor");
    for (std::size_t i = 0; i < header.e_shnum; ++i) {
      Elf64_Shdr section;
      if (header.e_shoff > object_.size() ||
          !read(header.e_shoff + i * sizeof(Elf64_Shdr), section))
        return refuse("its sections are cut off");
      sections_.push_back(section);
    }
    places_.assign(sections_.size(), nowhere);
    // Each byte is read once, whatever the headers name.
    std::uint64_t rest = object_.size();
    for (const Elf64_Shdr& section : sections_) {
      const bool used = (section.sh_flags & SHF_ALLOC) != 0 || section.sh_type == SHT_SYMTAB ||
                        section.sh_type == SHT_RELA || section.sh_type == SHT_STRTAB;
      if (!used) continue;
      if (section.sh_size > rest) return refuse("its sections overlap");
      rest -= section.sh_size;
    }
    return true;
  }

  /// Copies the sections that code needs.
  bool place() {
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      const Elf64_Shdr& section = sections_[i];
      if ((section.sh_flags & SHF_ALLOC) == 0 || section.sh_size == 0) continue;
      if (section.sh_type != SHT_PROGBITS || (section.sh_flags & (SHF_WRITE | SHF_TLS)) != 0)
        return refuse("it has a section of another kind than code and constants");
      if (!inside(section)) return refuse("a section is cut off");
      const std::uint64_t align = std::max<std::uint64_t>(section.sh_addralign, 1);
      if (align > page_bytes || (align & (align - 1)) != 0)
        return refuse("a section has a bad alignment");
      image_.bytes.resize((image_.bytes.size() + align - 1) / align * align);
      // Alignments of many sections could make an image of any size.
      if (image_.bytes.size() > 2 * object_bytes_max) return refuse("it is too large");
      places_[i] = image_.bytes.size();
      const auto* const begin = object_.data() + section.sh_offset;
      image_.bytes.insert(image_.bytes.end(), begin, begin + section.sh_size);
    }
    image_.entry = nowhere;
    return true;
  }

  /// Gives each symbol its place in the image; nowhere if no code may use it.
  bool symbols() {
    for (const Elf64_Shdr& section : sections_) {
      if (section.sh_type != SHT_SYMTAB) continue;
      if (!inside(section) || section.sh_link >= sections_.size() ||
          !inside(sections_[section.sh_link]) || !symbol_places_.empty())
        return refuse("its symbols are cut off");
      const std::size_t count = section.sh_size / sizeof(Elf64_Sym);
      for (std::size_t i = 0; i < count; ++i)
        if (!symbol(section.sh_offset + i * sizeof(Elf64_Sym), sections_[section.sh_link]))
          return false;
    }
    return true;
  }

  bool symbol(std::uint64_t at, const Elf64_Shdr& names) {
    Elf64_Sym symbol;
    if (!read(at, symbol)) return refuse("its symbols are cut off");
    std::size_t& own = symbol_places_.emplace_back(nowhere);
    const std::string_view name = name_of(symbol, names);
    if (symbol.st_shndx == SHN_UNDEF) {
      const auto* const found = std::find(outside_names.begin(), outside_names.end(), name);
      if (found != outside_names.end())
        own = jump_to(static_cast<std::size_t>(found - outside_names.begin()));
      else if (!name.empty())
        return refuse("it calls " + std::string(name));
      return true;
    }
    if (symbol.st_shndx >= sections_.size() || places_[symbol.st_shndx] == nowhere) return true;
    if (symbol.st_value > sections_[symbol.st_shndx].sh_size)
      return refuse("a symbol is outside of its section");
    own = places_[symbol.st_shndx] + symbol.st_value;
    if (name == entry_name_ && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
        symbol.st_value < sections_[symbol.st_shndx].sh_size)
      image_.entry = own;
    return true;
  }

  std::string_view name_of(const Elf64_Sym& symbol, const Elf64_Shdr& names) const {
    if (symbol.st_name >= names.sh_size) return {};
    const auto* const text =
        reinterpret_cast<const char*>(object_.data() + names.sh_offset + symbol.st_name);
    return {text, ::strnlen(text, names.sh_size - symbol.st_name)};
  }

  /// jmp [rip + 0], with the address behind it.
  std::size_t jump_to(std::size_t number) {
    std::size_t& place = jumps_.at(number);
    if (place != nowhere) return place;
    constexpr std::array<std::uint8_t, 6> jump{0xff, 0x25, 0, 0, 0, 0};
    place = (image_.bytes.size() + 15) / 16 * 16;
    image_.bytes.resize(place + 16);
    std::copy(jump.begin(), jump.end(), image_.bytes.data() + place);
    const std::uint64_t address = outside_address(number);
    std::memcpy(image_.bytes.data() + place + jump.size(), &address, sizeof address);
    return place;
  }

  bool relocations() {
    for (const Elf64_Shdr& section : sections_) {
      if (section.sh_type != SHT_RELA && section.sh_type != SHT_REL) continue;
      // A section that is not loaded, for example a note, needs no relocation.
      if (section.sh_info >= sections_.size() || places_[section.sh_info] == nowhere) continue;
      if (section.sh_type == SHT_REL || !inside(section))
        return refuse("its relocations have another form");
      const std::size_t count = section.sh_size / sizeof(Elf64_Rela);
      for (std::size_t i = 0; i < count; ++i)
        if (!relocation(section.sh_offset + i * sizeof(Elf64_Rela), section.sh_info)) return false;
    }
    return true;
  }

  bool relocation(std::uint64_t at, std::size_t target) {
    Elf64_Rela entry;
    if (!read(at, entry)) return refuse("its relocations are cut off");
    const std::uint64_t symbol = ELF64_R_SYM(entry.r_info);
    if (symbol >= symbol_places_.size() || symbol_places_[symbol] == nowhere)
      return refuse("a relocation has no target");
    const auto type = ELF64_R_TYPE(entry.r_info);
    const bool wide = type == R_X86_64_64 || type == R_X86_64_PC64;
    if (!wide && type != R_X86_64_PC32 && type != R_X86_64_PLT32)
      return refuse("it has a relocation of kind " + std::to_string(type));
    const std::uint64_t size = sections_[target].sh_size;
    const std::uint64_t bytes = wide ? 8 : 4;
    if (entry.r_offset > size || size - entry.r_offset < bytes)
      return refuse("a relocation is outside of its section");
    const std::size_t place = places_[target] + entry.r_offset;
    std::uint64_t value = symbol_places_[symbol] + static_cast<std::uint64_t>(entry.r_addend);
    if (type == R_X86_64_64)
      image_.absolute.push_back(place);
    else
      value -= place;
    const auto narrow = static_cast<std::int64_t>(value);
    if (!wide && narrow != static_cast<std::int32_t>(narrow))
      return refuse("a relocation is too far");
    std::memcpy(image_.bytes.data() + place, &value, bytes);
    return true;
  }

  std::span<const std::uint8_t> object_;
  const std::string& entry_name_;
  std::string problem_;
  Image image_;
  std::vector<Elf64_Shdr> sections_;
  std::vector<std::size_t> places_;  ///< of sections in the image
  std::vector<std::size_t> symbol_places_;
  std::array<std::size_t, outside_count> jumps_{nowhere, nowhere, nowhere};
};

}  // namespace

tl::expected<Image, std::string> read_object(std::span<const std::uint8_t> object,
                                             const std::string& entry) {
  return Reader(object, entry).run();
}

std::optional<LoadedCode> load(const Image& image, Kept& kept) {
  auto pages = ops::CodePages::make(image.bytes.size(), kept, [&image](std::span<std::uint8_t> to) {
    std::copy(image.bytes.begin(), image.bytes.end(), to.begin());
    const auto base = reinterpret_cast<std::uint64_t>(to.data());
    for (const std::size_t place : image.absolute) {
      std::uint64_t value = 0;
      std::memcpy(&value, to.data() + place, sizeof value);
      value += base;
      std::memcpy(to.data() + place, &value, sizeof value);
    }
  });
  if (!pages) return std::nullopt;
  const void* const entry = static_cast<const std::byte*>(pages->data()) + image.entry;
  return LoadedCode{std::move(*pages), entry};
}

}  // namespace outrigger::kernel
