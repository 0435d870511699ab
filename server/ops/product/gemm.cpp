#include "ops/product/gemm.hpp"

#include "ops/elementwise/kernels.hpp"
#include "ops/product/gemm_kernel.hpp"
#include "ops/product/gemm_pack.hpp"
#include "ops/product/gemv.hpp"

namespace outrigger::ops::gemm {
namespace {

/// The rows of A that one task packs, about 700 KiB: they stay in the L2 cache while all of B is
/// read.
constexpr std::int64_t rows_of(std::size_t element_bytes) {
  return std::int64_t{1792} / static_cast<std::int64_t>(element_bytes) / tile_rows * tile_rows;
}
template <typename C>
constexpr std::int64_t block_rows = rows_of(sizeof(C));
/// The columns of B that are packed in one step: they stay in the last cache.
constexpr std::int64_t block_columns = 4096;
/// A product with at most so many multiplications is one task. A larger product is not cut into
/// pieces with fewer elements than small_piece.
constexpr std::int64_t small_product = std::int64_t{1} << 18;
constexpr std::int64_t small_piece = std::int64_t{1} << 13;
/// The columns of a piece whose sums are converted. The conversion waits for the complete sums.
constexpr std::int64_t converted_columns = 1024;
/// The rows of a piece with fewer tiles than this are not rounded up to whole tiles. With few
/// tiles, the rounding would leave the last thread with much less work than the others.
constexpr std::int64_t many_tiles = 16;

/// The number of multiplications that take as long as a step, approximately. Integers of 64 bits
/// have no vector instruction.
template <typename C>
constexpr std::int64_t multiplied_at_once = std::is_same_v<C, std::uint64_t> ? 1 : 8;

/// One tile of the result. The result may end inside of the tile.
template <typename C, typename T>
void multiply_tile(std::int64_t k, const C* a, const C* b, std::int64_t b_stride, T* c,
                   std::int64_t c_stride, std::int64_t rows, std::int64_t columns, bool add) {
  const int vectors = columns <= lanes<C> ? 1 : tile_vectors;
  const TileKernel<C> kernel = tile_kernel<C>(rows, vectors);
  if constexpr (sizeof(C) == sizeof(T)) {
    if (columns == std::int64_t{vectors} * lanes<C>) {
      kernel(k, a, b, b_stride, reinterpret_cast<C*>(c), c_stride, add);
      return;
    }
  }
  alignas(vector_bytes) C sums[tile_rows * tile_columns<C>];
  kernel(k, a, b, b_stride, sums, tile_columns<C>, false);
  for (std::int64_t i = 0; i < rows; ++i) {
    T* to = c + i * c_stride;
    const C* from = sums + i * tile_columns<C>;
    for (std::int64_t j = 0; j < columns; ++j) {
      to[j] = static_cast<T>(add ? static_cast<C>(static_cast<C>(to[j]) + from[j]) : from[j]);
    }
  }
}

/// Multiplies packed rows of A by packed columns of B. Returns false if it was interrupted.
template <typename C, typename T>
bool multiply_block(Look& look, std::int64_t k, const C* a, const C* b, T* c, std::int64_t c_stride,
                    std::int64_t rows, std::int64_t columns, bool add) {
  constexpr std::int64_t width = tile_columns<C>;
  // While a panel of B is used, each tile prefetches a share of the next panel from the last cache.
  const std::int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  const std::int64_t share = round_up(width * k / tiles, line_bytes / std::int64_t{sizeof(C)});
  for (std::int64_t j = 0; j < columns; j += width) {
    if (!look.go_on(rows * width * (1 + k / multiplied_at_once<C>))) return false;
    const C* panel = b + j * k;
    const C* next = panel + width * k;
    for (std::int64_t i = 0; i < rows; i += tile_rows) {
      if (j + width < columns) prefetch(next + i / tile_rows * share, share);
      multiply_tile<C>(k, a + i * a_pitch, panel, width, c + i * c_stride + j, c_stride,
                       std::min<std::int64_t>(tile_rows, rows - i), std::min(width, columns - j),
                       add);
    }
  }
  return true;
}

template <typename T>
class Product {
 public:
  using C = ComputeType<T>;

  Product(const Context& context, const Matrices<T>& left, const Matrices<T>& right,
          const Output& out)
      : context_(context),
        left_(left),
        right_(right),
        out_(out),
        m_(left.rows.size),
        k_(left.columns.size),
        n_(right.columns.size) {}

  Result<void> run() {
    const std::int64_t batch = left_.batch.size;
    if (batch == 0 || m_ == 0 || n_ == 0) return {};
    if (k_ == 0) return clear(batch * m_ * n_ * static_cast<std::int64_t>(out_width()));
    if (n_ == 1 || m_ == 1) {
      const Matrices<T>& matrix = n_ == 1 ? left_ : right_;
      const Matrices<T>& vector = n_ == 1 ? right_ : left_;
      const Axis& free = n_ == 1 ? left_.rows : right_.columns;
      const Axis& along = n_ == 1 ? left_.columns : right_.rows;
      const Axis& vector_along = n_ == 1 ? right_.rows : left_.columns;
      if (along.unit() || free.unit() || free.size == 1) {
        return multiply_vector<T>(context_, matrix, free, along, vector, vector_along, out_);
      }
    }
    cut();
    const std::int64_t batch_pieces = row_pieces_ * column_pieces_;
    const std::int64_t each = left_elements() + right_elements() + sums_elements();
    OUTRIGGER_TRY(
        const BufferPtr buffer,
        context_.memory.allocate(static_cast<std::size_t>(each * context_.threads) * sizeof(C)));
    C* packed = reinterpret_cast<C*>(buffer->data());
    const std::int64_t work = m_ * n_ * k_;
    const std::int64_t grain = std::max<std::int64_t>(1, (std::int64_t{1} << 16) / work);
    return looking_ranges(context_, batch * batch_pieces, grain, batch * work,
                          [&](int thread, std::int64_t begin, std::int64_t end) {
                            C* a = packed + thread * each;
                            Look look(context_.interrupt);
                            for (std::int64_t i = begin; i < end; ++i) {
                              if (!piece(look, i / batch_pieces, i % batch_pieces, a)) return false;
                            }
                            return true;
                          });
  }

 private:
  /// Cuts the result into pieces for the threads. Each thread packs the operands of its piece, so
  /// that threads wait only at the end. To pack an operand twice costs less than to wait for
  /// another thread.
  void cut() {
    const std::int64_t columns = converts() ? converted_columns : block_columns;
    column_pieces_ = (n_ + columns - 1) / columns;
    if (converts()) row_pieces_ = (m_ + block_rows<C> - 1) / block_rows<C>;
    while (left_.batch.size * row_pieces_ * column_pieces_ < 2 * context_.threads &&
           context_.threads > 1 && piece_rows() * piece_columns() > small_piece &&
           m_ * n_ * k_ > small_product) {
      ++(piece_rows() > piece_columns() ? row_pieces_ : column_pieces_);
    }
  }

  Result<void> clear(std::int64_t bytes) const {
    auto* const out = static_cast<std::byte*>(out_.data);
    return parallel_ranges(context_, bytes, std::int64_t{1} << 20, bytes / 16,
                           [&](int, std::int64_t begin, std::int64_t end) {
                             std::fill(out + begin, out + end, std::byte{0});
                           });
  }

  bool converts() const { return out_.conversion != nullptr; }
  std::size_t out_width() const { return converts() ? out_.conversion->to_width() : sizeof(T); }

  std::int64_t piece_rows() const {
    const std::int64_t rows = (m_ + row_pieces_ - 1) / row_pieces_;
    return rows < many_tiles * tile_rows ? rows : round_up(rows, tile_rows);
  }
  std::int64_t piece_columns() const {
    return round_up((n_ + column_pieces_ - 1) / column_pieces_, tile_columns<C>);
  }
  std::int64_t row_block() const { return std::min(block_rows<C>, piece_rows()); }
  std::int64_t left_elements() const { return round_up(row_block(), tile_rows) * a_pitch; }
  std::int64_t right_elements() const { return std::min(depth, k_) * piece_columns(); }
  std::int64_t sums_elements() const { return converts() ? piece_rows() * piece_columns() : 0; }
  std::int64_t position(std::int64_t batch, std::int64_t row, std::int64_t column) const {
    return (batch * m_ + row) * n_ + column;
  }

  /// Returns false if it was interrupted.
  bool piece(Look& look, std::int64_t batch, std::int64_t index, C* a) const {
    C* const b = a + left_elements();
    C* const sums = b + right_elements();
    const std::int64_t column = index % column_pieces_ * piece_columns();
    const std::int64_t columns = std::min(piece_columns(), n_ - column);
    const std::int64_t row = index / column_pieces_ * piece_rows();
    const std::int64_t row_end = std::min(row + piece_rows(), m_);
    if (columns <= 0) return true;
    for (std::int64_t k0 = 0; k0 < k_; k0 += depth) {
      const std::int64_t k = std::min(depth, k_ - k0);
      if (!look.go_on(k * columns)) return false;
      pack_right(b, right_, batch, k0, k, column, columns);
      for (std::int64_t i = row; i < row_end; i += row_block()) {
        const std::int64_t rows = std::min(row_block(), row_end - i);
        if (!look.go_on(rows * k)) return false;
        pack_left(a, left_, batch, i, rows, k0, k);
        if (converts()) {
          C* const c = sums + (i - row) * piece_columns();
          if (!multiply_block(look, k, a, b, c, piece_columns(), rows, columns, k0 > 0))
            return false;
        } else {
          T* const c = static_cast<T*>(out_.data) + position(batch, i, column);
          if (!multiply_block(look, k, a, b, c, n_, rows, columns, k0 > 0)) return false;
        }
      }
    }
    if (!converts()) return true;
    for (std::int64_t i = row; i < row_end; ++i)
      store_run<T>(out_, position(batch, i, column), sums + (i - row) * piece_columns(), columns);
    return true;
  }

  const Context& context_;
  const Matrices<T>& left_;
  const Matrices<T>& right_;
  const Output& out_;
  std::int64_t m_, k_, n_;
  std::int64_t row_pieces_ = 1;
  std::int64_t column_pieces_ = 1;
};

}  // namespace

std::uint64_t scratch_bytes(std::int64_t batch, std::int64_t m, std::int64_t k, std::int64_t n,
                            std::size_t element, bool converts, int threads) {
  if (batch == 0 || m == 0 || n == 0 || k == 0) return 0;
  const auto bytes = static_cast<std::int64_t>(element);
  const std::int64_t columns = 2 * static_cast<std::int64_t>(vector_bytes) / bytes;
  const std::int64_t rows = std::min(rows_of(element), round_up(m, tile_rows));
  const std::int64_t left = rows * a_pitch;
  const std::int64_t right = std::min(depth, k) * round_up(std::min(n, block_columns), columns);
  const std::int64_t sums = converts ? rows * round_up(std::min(n, converted_columns), columns) : 0;
  std::uint64_t most =
      Memory::capacity_of(static_cast<std::size_t>((left + right + sums) * threads * bytes));
  if (m == 1 || n == 1) {
    const std::int64_t vectors = batch * k + batch * m * n * ((k + dot_chunk - 1) / dot_chunk);
    most = std::max<std::uint64_t>(most,
                                   Memory::capacity_of(static_cast<std::size_t>(vectors * bytes)));
  }
  return most;
}

template <typename T>
Result<void> multiply(const Context& context, const Matrices<T>& left, const Matrices<T>& right,
                      const Output& out) {
  return Product<T>(context, left, right, out).run();
}

#define OUTRIGGER_INSTANTIATE(T)                                                            \
  template Result<void> multiply<T>(const Context&, const Matrices<T>&, const Matrices<T>&, \
                                    const Output&);
OUTRIGGER_INSTANTIATE(std::uint8_t)
OUTRIGGER_INSTANTIATE(std::uint16_t)
OUTRIGGER_INSTANTIATE(std::uint32_t)
OUTRIGGER_INSTANTIATE(std::uint64_t)
OUTRIGGER_INSTANTIATE(float)
OUTRIGGER_INSTANTIATE(double)
#undef OUTRIGGER_INSTANTIATE

}  // namespace outrigger::ops::gemm
