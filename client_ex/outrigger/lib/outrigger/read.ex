defmodule Outrigger.Read do
  @moduledoc """
  Reads the elements, the shape and the type of a tensor. `Outrigger` has the same functions.

  Each function waits for the daemon. It takes the option `:deadline`, and returns `{:ok, value}` or
  `{:error, exception}`. The function with `!` returns the value, or raises the exception.

  Floats that Elixir cannot hold are `:nan`, `:infinity` and `:neg_infinity`. A complex number is
  `{re, im}`.
  """

  alias Outrigger.{Data, Dtype, Tensor, Transfer}
  import Outrigger.Ask, only: [deadline: 2, ok!: 1, positive!: 2]

  @doc """
  The elements as a nested list. A scalar is a number.

      iex> Outrigger.tensor(MyApp.Compute, [[1, 2], [3, 4]]) |> Outrigger.to_list()
      {:ok, [[1, 2], [3, 4]]}
  """
  @spec to_list(Tensor.t(), keyword) :: {:ok, Data.nested()} | Outrigger.error()
  def to_list(%Tensor{} = tensor, options \\ []) do
    with {:ok, list, _type, shape} <- download_list(tensor, :all, options) do
      {:ok, Data.nest(list, shape)}
    end
  end

  @doc "As `to_list/2`, but raises."
  @spec to_list!(Tensor.t(), keyword) :: Data.nested()
  def to_list!(tensor, options \\ []), do: ok!(to_list(tensor, options))

  @doc """
  The elements as a flat list, in C order.

      iex> Outrigger.tensor(MyApp.Compute, [[1], [2]]) |> Outrigger.to_flat_list()
      {:ok, [1, 2]}
  """
  @spec to_flat_list(Tensor.t(), keyword) :: {:ok, [Data.number_like()]} | Outrigger.error()
  def to_flat_list(%Tensor{} = tensor, options \\ []) do
    with {:ok, list, _type, _shape} <- download_list(tensor, :all, options) do
      {:ok, list}
    end
  end

  @doc "As `to_flat_list/2`, but raises."
  @spec to_flat_list!(Tensor.t(), keyword) :: [Data.number_like()]
  def to_flat_list!(tensor, options \\ []), do: ok!(to_flat_list(tensor, options))

  @doc """
  The bytes of the elements: C order, little-endian. Integers below 8 bits are packed. The option
  `:limit` reads only that many elements, the first ones.

  The function needs memory for twice the bytes. `to_iodata/2` needs half of that.

      iex> Outrigger.tensor(MyApp.Compute, [1, 2], type: :u8) |> Outrigger.to_binary()
      {:ok, <<1, 2>>}
      iex> Outrigger.iota(MyApp.Compute, {1000}, type: :u8) |> Outrigger.to_binary(limit: 2)
      {:ok, <<0, 1>>}
  """
  @spec to_binary(Tensor.t(), keyword) :: {:ok, binary} | Outrigger.error()
  def to_binary(%Tensor{} = tensor, options \\ []) do
    {limit, options} = Keyword.pop(options, :limit, :all)
    if limit != :all, do: positive!(:limit, limit)

    with {:ok, data, _type, _shape} <-
           Transfer.download(tensor, limit, deadline(tensor.server, options)),
         do: {:ok, data}
  end

  @doc "As `to_binary/2`, but raises."
  @spec to_binary!(Tensor.t(), keyword) :: binary
  def to_binary!(tensor, options \\ []), do: ok!(to_binary(tensor, options))

  @doc """
  As `to_binary/2`, but the bytes stay in the pieces in which they arrived. Write this iodata to a
  file or to a socket. It needs half the memory, because no step joins the pieces.

      iex> {:ok, data} = Outrigger.tensor(MyApp.Compute, [1, 2], type: :u8) |> Outrigger.to_iodata()
      iex> IO.iodata_to_binary(data)
      <<1, 2>>
  """
  @spec to_iodata(Tensor.t(), keyword) :: {:ok, iodata} | Outrigger.error()
  def to_iodata(%Tensor{} = tensor, options \\ []) do
    with {:ok, chunks, _type, _shape} <-
           Transfer.download_chunks(tensor, :all, deadline(tensor.server, options)) do
      {:ok, chunks}
    end
  end

  @doc "As `to_iodata/2`, but raises."
  @spec to_iodata!(Tensor.t(), keyword) :: iodata
  def to_iodata!(tensor, options \\ []), do: ok!(to_iodata(tensor, options))

  @doc """
  The number of a tensor with one element. Raises `ArgumentError` if it has more or none.

      iex> Outrigger.tensor(MyApp.Compute, 1.5) |> Outrigger.to_number()
      {:ok, 1.5}
  """
  @spec to_number(Tensor.t(), keyword) :: {:ok, Data.number_like()} | Outrigger.error()
  def to_number(%Tensor{} = tensor, options \\ []) do
    with {:ok, list, type, shape} <- download_list(tensor, 2, options) do
      case list do
        [number] ->
          {:ok, number}

        _ ->
          raise ArgumentError, "#{type}#{Tensor.dims(shape)} has not one element: use to_list/2"
      end
    end
  end

  @doc "As `to_number/2`, but raises."
  @spec to_number!(Tensor.t(), keyword) :: Data.number_like()
  def to_number!(tensor, options \\ []), do: ok!(to_number(tensor, options))

  @doc """
  The first `count` elements, in C order. The daemon sends no others.

      iex> Outrigger.iota(MyApp.Compute, {1000, 1000}) |> Outrigger.peek(3)
      {:ok, [0, 1, 2]}
  """
  @spec peek(Tensor.t(), pos_integer, keyword) ::
          {:ok, [Data.number_like()]} | Outrigger.error()
  def peek(%Tensor{} = tensor, count, options \\ []) do
    positive!(:count, count)

    with {:ok, list, _type, _shape} <- download_list(tensor, count, options) do
      {:ok, list}
    end
  end

  @doc "As `peek/3`, but raises."
  @spec peek!(Tensor.t(), pos_integer, keyword) :: [Data.number_like()]
  def peek!(tensor, count, options \\ []), do: ok!(peek(tensor, count, options))

  @doc """
  The shape. Waits only if the daemon has not answered the tensor's op.

      iex> Outrigger.iota(MyApp.Compute, {2, 3}) |> Outrigger.shape()
      {:ok, {2, 3}}
  """
  @spec shape(Tensor.t(), keyword) :: {:ok, Dtype.shape()} | Outrigger.error()
  def shape(%Tensor{} = tensor, options \\ []) do
    with {:ok, {_type, shape}} <- meta(tensor, options), do: {:ok, shape}
  end

  @doc "As `shape/2`, but raises."
  @spec shape!(Tensor.t(), keyword) :: Dtype.shape()
  def shape!(tensor, options \\ []), do: ok!(shape(tensor, options))

  @doc """
  The type. Waits only if the daemon has not answered the tensor's op.

      iex> Outrigger.iota(MyApp.Compute, {2, 3}) |> Outrigger.type!()
      :s32
  """
  @spec type(Tensor.t(), keyword) :: {:ok, Dtype.t()} | Outrigger.error()
  def type(%Tensor{} = tensor, options \\ []) do
    with {:ok, {type, _shape}} <- meta(tensor, options), do: {:ok, type}
  end

  @doc "As `type/2`, but raises."
  @spec type!(Tensor.t(), keyword) :: Dtype.t()
  def type!(tensor, options \\ []), do: ok!(type(tensor, options))

  defp meta(tensor, options), do: Tensor.await(tensor, deadline(tensor.server, options))

  defp download_list(tensor, count, options),
    do: Transfer.download_list(tensor, count, deadline(tensor.server, options))
end
