#include "files/csv.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "files/csv_field.hpp"
#include "files/file.hpp"
#include "tensor/file_pages.hpp"

namespace outrigger::files {
namespace {

/// Bytes of text that one thread takes at a time.
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

/// A whole file's text.
class Text {
 public:
  static Result<Text> map(const File& file) {
    const auto bytes = static_cast<std::size_t>(file.size());
    void* const pages =
        ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return io_failure("map", file.name(), errno);
    Text text(static_cast<std::byte*>(pages), bytes);
    OUTRIGGER_CHECK(map_file_pages(text.pages_, bytes, file.descriptor(), 0, file.name()));
    return text;
  }
  Text(Text&& other) noexcept
      : pages_(std::exchange(other.pages_, nullptr)), bytes_(other.bytes_) {}
  Text& operator=(Text&&) = delete;
  ~Text() {
    if (pages_ == nullptr) return;
    unmap_file_pages(pages_);
    ::munmap(pages_, bytes_);
  }

  std::string_view view() const { return {reinterpret_cast<const char*>(pages_), bytes_}; }
  /// Errors: io_error if the file has been cut short since.
  Result<void> check() const { return check_file_pages(pages_); }

 private:
  Text(std::byte* pages, std::size_t bytes) : pages_(pages), bytes_(bytes) {}
  std::byte* pages_;
  std::size_t bytes_;
};

/// The first mistake of a chunk.
struct Mistake {
  std::int64_t line = std::numeric_limits<std::int64_t>::max();
  std::string text;
};

struct Chunk {
  std::size_t begin = 0;
  std::size_t end = 0;
  /// Of the chunk, then of all before it.
  std::int64_t lines = 0;
  std::int64_t rows = 0;
  Mistake mistake = {};
};

bool is_blank(std::string_view line) {
  return std::all_of(line.begin(), line.end(),
                     [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
}

/// Takes the next line off a text, without its end.
std::string_view next_line(std::string_view& text) {
  const void* const found = std::memchr(text.data(), '\n', text.size());
  const std::size_t length =
      found == nullptr ? text.size()
                       : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  const std::string_view line = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return line;
}

std::int64_t count_fields(std::string_view line, char separator) {
  std::int64_t count = 0;
  while (line.data() != nullptr) {
    next_field(line, separator);
    ++count;
  }
  return count;
}

class Reader {
 public:
  Reader(std::string_view text, const CsvOptions& options) : text_(text), options_(options) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    std::string_view rest = text_;
    while (!rest.empty()) {
      const std::string_view line = next_line(rest);
      ++first_line_;
      if (is_blank(line)) {
        text_ = rest;
        continue;
      }
      columns_ = count_fields(line, options.separator);
      if (options.header)
        text_ = rest;
      else
        --first_line_;
      break;
    }
  }

  /// 0 if there is no line.
  std::int64_t columns() const { return columns_; }
  std::int64_t rows() const { return rows_; }

  Result<void> count(const Team& team) {
    for (std::size_t begin = 0; begin < text_.size();) {
      const std::size_t stop = text_.find('\n', std::min(begin + chunk_bytes, text_.size()) - 1);
      const std::size_t end = stop == std::string_view::npos ? text_.size() : stop + 1;
      chunks_.push_back({begin, end});
      begin = end;
    }
    OUTRIGGER_CHECK(team(static_cast<std::int64_t>(chunks_.size()), [&](std::int64_t i) {
      Chunk& chunk = chunks_[static_cast<std::size_t>(i)];
      for (std::string_view rest = text_of(chunk); !rest.empty(); ++chunk.lines)
        chunk.rows += is_blank(next_line(rest)) ? 0 : 1;
    }));
    std::int64_t lines = first_line_;
    for (Chunk& chunk : chunks_) {
      lines += std::exchange(chunk.lines, lines);
      rows_ += std::exchange(chunk.rows, rows_);
    }
    return {};
  }

  Result<void> parse(const Team& team, const Tensor& out) {
    return team(static_cast<std::int64_t>(chunks_.size()),
                [&](std::int64_t i) { parse(chunks_[static_cast<std::size_t>(i)], out); });
  }

  /// The first of the file; its text is empty if there is none.
  const Mistake& mistake() const {
    static const Mistake none;
    for (const Chunk& chunk : chunks_) {
      if (!chunk.mistake.text.empty()) return chunk.mistake;
    }
    return none;
  }

 private:
  std::string_view text_of(const Chunk& chunk) const {
    return text_.substr(chunk.begin, chunk.end - chunk.begin);
  }

  void parse(Chunk& chunk, const Tensor& out) const {
    const std::size_t width = size_of(out.dtype());
    std::byte* to = out.data() + static_cast<std::size_t>(chunk.rows * columns_) * width;
    std::int64_t number = chunk.lines;
    for (std::string_view rest = text_of(chunk); !rest.empty();) {
      std::string_view line = next_line(rest);
      ++number;
      if (is_blank(line)) continue;
      const std::string_view whole = line;
      for (std::int64_t column = 1; column <= columns_; ++column, to += width) {
        if (line.data() == nullptr) return note(chunk, number, whole);
        const std::string_view field = field_content(next_field(line, options_.separator));
        const std::string wrong = parse_field(field, out.dtype(), to);
        if (wrong.empty()) continue;
        chunk.mistake = {number, "line " + std::to_string(number) + ", column " +
                                     std::to_string(column) + ": " + wrong};
        return;
      }
      if (line.data() != nullptr) return note(chunk, number, whole);
    }
  }

  void note(Chunk& chunk, std::int64_t number, std::string_view line) const {
    chunk.mistake = {number, "line " + std::to_string(number) + " has " +
                                 std::to_string(count_fields(line, options_.separator)) +
                                 " columns, the first has " + std::to_string(columns_)};
  }

  std::string_view text_;
  const CsvOptions& options_;
  std::int64_t first_line_ = 0;  ///< lines before the text
  std::int64_t columns_ = 0;
  std::int64_t rows_ = 0;
  std::vector<Chunk> chunks_;
};

}  // namespace

Result<Tensor> load_csv(Memory& memory, const std::string& path, const CsvOptions& options,
                        const Team& team) {
  if (is_complex(options.dtype)) {
    return fail(ErrorCode::bad_dtype,
                "a file of numbers has none of the dtype " + std::string(name_of(options.dtype)));
  }
  OUTRIGGER_TRY(const File file, File::open(path));
  const std::string& name = file.name();
  if (file.size() == 0) return bad_file(name, "is empty");
  OUTRIGGER_TRY(const Text text, Text::map(file));
  Reader reader(text.view(), options);
  if (reader.columns() == 0) return bad_file(name, "has no lines");
  OUTRIGGER_CHECK(reader.count(team));
  TensorType type{options.dtype, {reader.rows(), reader.columns()}};
  OUTRIGGER_CHECK(check_shape(type.shape, size_of(type.dtype)));
  OUTRIGGER_TRY(Tensor tensor, allocate_tensor(memory, std::move(type)));
  OUTRIGGER_CHECK(reader.parse(team, tensor));
  OUTRIGGER_CHECK(text.check());
  if (!reader.mistake().text.empty()) return bad_file(name, reader.mistake().text);
  return tensor;
}

}  // namespace outrigger::files
