defmodule Outrigger.Nx.BlocksTest do
  use ExUnit.Case, async: true
  alias Nx.{Block, LinAlg}
  alias Outrigger.Nx.Lowering

  # Each of Nx's blocks, by what users call: eager, compiled and on Nx.BinaryBackend.

  @definite [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]
  @plain [[0.5, -2.0, 3.0], [1.0, 4.0, -1.0], [2.0, 0.25, 1.0]]
  @examples %{
    Block.LogicalNot => {&__MODULE__.logical_not/1, @plain},
    Block.Phase => {&__MODULE__.phase/1, @plain},
    Block.AllClose => {&__MODULE__.all_close/1, @plain},
    Block.CumulativeSum => {&__MODULE__.cumulative_sum/1, @plain},
    Block.CumulativeProduct => {&__MODULE__.cumulative_product/1, @plain},
    Block.CumulativeMin => {&__MODULE__.cumulative_min/1, @plain},
    Block.CumulativeMax => {&__MODULE__.cumulative_max/1, @plain},
    Block.Take => {&__MODULE__.take/1, @plain},
    Block.TakeAlongAxis => {&__MODULE__.take_along_axis/1, @plain},
    Block.TopK => {&__MODULE__.top_k/1, @plain},
    Block.FFT2 => {&__MODULE__.fft2/1, @plain},
    Block.IFFT2 => {&__MODULE__.ifft2/1, @plain},
    Block.RFFT => {&__MODULE__.rfft/1, @plain},
    Block.IRFFT => {&__MODULE__.irfft/1, @plain},
    Block.LinAlg.Cholesky => {&__MODULE__.cholesky/1, @definite},
    Block.LinAlg.Solve => {&__MODULE__.solve/1, @definite},
    Block.LinAlg.QR => {&__MODULE__.qr/1, @plain},
    Block.LinAlg.Eigh => {&__MODULE__.eigh/1, @definite},
    Block.LinAlg.SVD => {&__MODULE__.svd/1, @definite},
    Block.LinAlg.LU => {&__MODULE__.lu/1, @plain},
    Block.LinAlg.Determinant => {&__MODULE__.determinant/1, @plain}
  }

  # Nx's own definition is elementwise, and a reduction: it becomes a pass or two.
  @by_definition [Block.AllClose, Block.Phase]

  def logical_not(x), do: Nx.logical_not(Nx.greater(x, 1))
  def phase(x), do: Nx.phase(Nx.complex(x, 1))
  def all_close(x), do: Nx.all_close(x, Nx.add(x, 1.0e-6))
  def cumulative_sum(x), do: Nx.cumulative_sum(x, axis: 1)
  def cumulative_product(x), do: Nx.cumulative_product(x, reverse: true)
  def cumulative_min(x), do: Nx.cumulative_min(x, axis: 1)
  def cumulative_max(x), do: Nx.cumulative_max(x)
  def take(x), do: Nx.take(x, Nx.argmax(x, axis: 1), axis: 1)
  def take_along_axis(x), do: Nx.take_along_axis(x, Nx.argsort(x, axis: 1), axis: 1)
  def top_k(x), do: Nx.top_k(x, k: 2)
  def fft2(x), do: Nx.fft2(x)
  def ifft2(x), do: Nx.ifft2(x)
  def rfft(x), do: Nx.rfft(x)
  def irfft(x), do: Nx.irfft(x, length: 4)
  def cholesky(x), do: LinAlg.cholesky(x)
  def solve(x), do: LinAlg.solve(x, Nx.sum(x, axes: [1]))
  def qr(x), do: product(LinAlg.qr(x))
  def determinant(x), do: LinAlg.determinant(x)
  def lu(x), do: LinAlg.lu(x)

  # Signs and bases are not unique, what they come together to is.
  def eigh(x) do
    {values, vectors} = LinAlg.eigh(x)
    {values, vectors |> Nx.multiply(values) |> Nx.dot(Nx.transpose(vectors))}
  end

  def svd(x) do
    {u, s, vt} = LinAlg.svd(x)
    {s, u |> Nx.multiply(s) |> Nx.dot(vt)}
  end

  defp product({q, r}), do: Nx.dot(q, r)

  defp blocks do
    {:ok, modules} = :application.get_key(:nx, :modules)

    for module <- modules,
        match?(["Nx", "Block" | _], Module.split(module)),
        Code.ensure_loaded?(module) and function_exported?(module, :__struct__, 0),
        do: module
  end

  test "there is an example of each block that Nx has" do
    assert Enum.sort(blocks()) == Enum.sort(Map.keys(@examples))
  end

  test "the daemon has an op for each but those that are elementwise by definition" do
    assert Enum.reject(blocks(), &Lowering.native?(struct(&1), [])) |> Enum.sort() ==
             @by_definition
  end

  for {module, _} <- @examples do
    test inspect(module) do
      {fun, rows} = @examples[unquote(module)]
      theirs = Nx.with_default_backend(Nx.BinaryBackend, fn -> fun.(Nx.tensor(rows)) end)
      eager = fun.(Nx.tensor(rows))
      compiled = Nx.Defn.jit(fun, compiler: Outrigger.Nx).(Nx.tensor(rows))

      for {theirs, ours} <- [{theirs, eager}, {theirs, compiled}],
          {theirs, ours} <- Enum.zip(flat(theirs), flat(ours)) do
        assert {theirs.type, theirs.shape} == {ours.type, ours.shape}
        assert %Outrigger.Nx.Backend{} = ours.data
        ours = Nx.backend_copy(ours, Nx.BinaryBackend)

        assert Nx.to_number(Nx.all_close(theirs, ours, atol: 1.0e-3)) == 1,
               inspect({theirs, ours})
      end
    end
  end

  defp flat(%Nx.Tensor{} = t), do: [t]
  defp flat(tuple), do: Tuple.to_list(tuple)
end
