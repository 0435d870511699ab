defmodule Outrigger.Creation do
  @moduledoc """
  Tensors from numbers, bytes and ranges of Elixir. `Outrigger` has the same functions.

  The functions return their tensor at once. An upload of more than 2 MiB waits until the daemon has
  received all but the last pieces.
  """

  alias Outrigger.{Data, Dtype, Op, Program, Server, Tensor, Transfer}
  import Outrigger.Ask, only: [only!: 2]

  @doc """
  A tensor from a number or a nested list.

  The type is `:type`. Its default is that of Nx: `:s32` for integers, and `:f32` if there is a
  float.

      iex> Outrigger.tensor(MyApp.Compute, [[1, 2.5], [:nan, 4]]) |> Outrigger.to_list!()
      [[1.0, 2.5], [:nan, 4.0]]
  """
  @spec tensor(Outrigger.server(), Data.nested(), type: Dtype.accepted()) :: Tensor.t()
  def tensor(server, value, options \\ [])

  def tensor(server, value, options)
      when is_list(value) or is_number(value) or is_atom(value) or is_struct(value, Complex) or
             (is_tuple(value) and tuple_size(value) == 2) do
    only!(options, [:type])

    type =
      if options[:type], do: Dtype.normalize!(options[:type]), else: elem(Data.infer(value), 0)

    shape = Data.shape(value)
    flat? = is_list(value) and tuple_size(shape) == 1
    data = if flat?, do: value, else: IO.iodata_to_binary(Data.encode(value, type))
    Transfer.upload(Server.fetch!(server), data, type, shape)
  end

  def tensor(_server, value, _options) do
    raise ArgumentError,
          "expected a number or a nested list of numbers, got: #{inspect(value, limit: 5)}"
  end

  @doc """
  A tensor from bytes: elements in C order, little-endian.

      iex> Outrigger.from_binary(MyApp.Compute, <<1, 2, 3, 4>>, :u8, {2, 2}) |> Outrigger.to_list!()
      [[1, 2], [3, 4]]
  """
  @spec from_binary(Outrigger.server(), binary, Dtype.accepted(), Dtype.shape()) :: Tensor.t()
  def from_binary(server, data, type, shape) when is_binary(data) do
    {type, shape} = {Dtype.normalize!(type), Dtype.shape!(shape)}
    size = Dtype.byte_size(type, shape)

    if byte_size(data) != size do
      raise ArgumentError,
            "#{type}#{Tensor.dims(shape)} takes #{size} bytes, got #{byte_size(data)}"
    end

    Transfer.upload(Server.fetch!(server), data, type, shape)
  end

  @doc """
  A tensor of the numbers of a range. The daemon computes it. The default of `:type` is `:s32`.
  Integers that the type cannot hold wrap around, as in `tensor/3`.

      iex> Outrigger.from_range(MyApp.Compute, 10..0//-5) |> Outrigger.to_list!()
      [10, 5, 0]
  """
  @spec from_range(Outrigger.server(), Range.t(), type: Dtype.accepted()) :: Tensor.t()
  def from_range(server, %Range{first: first, step: step} = range, options \\ []) do
    only!(options, [:type])
    type = Dtype.normalize!(options[:type] || :s32)

    program =
      Program.trace(fn ->
        Op.iota({Range.size(range)}, type: :s64)
        |> Op.multiply(step)
        |> Op.add(first)
        |> Op.as_type(type)
      end)

    Program.run(server, program, [])
  end
end
