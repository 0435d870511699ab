defmodule Outrigger.Files do
  @moduledoc """
  Tensors from files, and tensors to files. `Outrigger` has the same functions.

  The daemon reads and writes the files itself: no element passes through Elixir. A relative path
  starts at the working directory of the VM. A server (`connect:`) reaches only the folders of its
  own machine that its option `--files` names; other paths get the error `:forbidden`.

  The functions that load return their tensor at once. If the daemon cannot read the file, that
  tensor fails, and `Outrigger.await/2` returns the error. The functions that save wait for the
  daemon, and take the option `:deadline`.
  """

  alias Outrigger.{Dtype, FileName, Tensor}
  import Outrigger.Ask, only: [make: 3, ok!: 1, only!: 2, request: 4]

  @typedoc "Tensors under their names in a `.npz` file."
  @type named :: %{(String.t() | atom) => Tensor.t()} | keyword(Tensor.t())

  @doc """
  A tensor from a `.npy` file. It has the dtype and the shape that the file states.

      Outrigger.load_npy(MyApp.Compute, "dem.npy")
  """
  @spec load_npy(Outrigger.server(), Path.t()) :: Tensor.t()
  def load_npy(server, path), do: load(server, "load", path, [])

  @doc """
  A tensor from a member of a `.npz` file. The name of the member has no `.npy`. It may be left out
  if the file has one member only.

      Outrigger.load_npz(MyApp.Compute, "dem.npz", "elevation")
  """
  @spec load_npz(Outrigger.server(), Path.t(), String.t() | atom) :: Tensor.t()
  def load_npz(server, path, member \\ nil) do
    load(server, "load", path, if(member, do: [{"member", to_string(member)}], else: []))
  end

  @doc """
  A tensor of the bytes of a file, from byte `:offset` (0) on. The bytes are elements in C order,
  little-endian, as in `Outrigger.from_binary/4`.

  The daemon maps the file: it reads a page when an op uses the page. A write in place goes to a
  copy of the page, never to the file. Do not write to the file while the tensor lives. If the file
  gets shorter, every use of the tensor is an error that says so.

      points = Outrigger.load_raw(MyApp.Compute, "points.f32", :f32, {1_000_000, 3})
  """
  @spec load_raw(Outrigger.server(), Path.t(), Dtype.accepted(), Dtype.shape(),
          offset: non_neg_integer
        ) :: Tensor.t()
  def load_raw(server, path, type, shape, options \\ []) do
    only!(options, [:offset])
    {type, shape} = {Dtype.normalize!(type), Dtype.shape!(shape)}
    offset = options[:offset] || 0

    unless is_integer(offset) and offset >= 0 do
      raise ArgumentError, ":offset must be a number of bytes, got: #{inspect(offset)}"
    end

    fields = [
      {"dtype", Atom.to_string(type)},
      {"shape", Tuple.to_list(shape)},
      {"offset", offset}
    ]

    load(server, "load_raw", path, fields)
  end

  @doc """
  A tensor `{lines, columns}` from a text file of numbers, for instance CSV. The daemon reads the
  file with all its threads.

  ## Options

    * `:type` - a dtype that is not complex, `:f32`
    * `:separator` - one character, `","`
    * `:header` - whether the first line has names, `false`

  Lines that have only spaces are skipped. A space or a tab that is the separator does not count as
  such a space. A field may have spaces or double quotes around it. A name in quotes may contain
  separators and line breaks. A field that is empty or `NA` is NaN in floats, and an error in
  integers. A field has at most 4,096 bytes. Errors (`:bad_file`) name the line and the column.

      table = Outrigger.load_csv(MyApp.Compute, "table.csv", header: true)
      {:ok, table} = Outrigger.await(table)
  """
  @spec load_csv(Outrigger.server(), Path.t(),
          type: Dtype.accepted(),
          separator: String.t(),
          header: boolean
        ) :: Tensor.t()
  def load_csv(server, path, options \\ []) do
    only!(options, [:type, :separator, :header])
    separator = options[:separator] || ","
    header = options[:header] || false

    unless is_binary(separator) and is_boolean(header) do
      raise ArgumentError,
            ":separator must be a string and :header true or false, got: " <>
              "#{inspect(separator)} and #{inspect(header)}"
    end

    fields = [
      {"dtype", Atom.to_string(Dtype.normalize!(options[:type] || :f32))},
      {"separator", separator},
      {"header", header}
    ]

    load(server, "load_csv", path, fields)
  end

  @doc """
  Writes a tensor to a `.npy` file.

  The file appears whole or not at all, also if the daemon is killed during the write. A file of
  that name is replaced, unless it is read-only (`:bad_file`).
  """
  @spec save_npy(Tensor.t(), Path.t(), keyword) :: :ok | Outrigger.error()
  def save_npy(%Tensor{} = tensor, path, options \\ []) do
    fields = [{"handle", tensor.handle}, {"path", FileName.expand(path)}]
    with {:ok, _} <- request(tensor, "save", fields, options), do: Tensor.take_write_error(tensor)
  end

  @doc "As `save_npy/3`, but raises."
  @spec save_npy!(Tensor.t(), Path.t(), keyword) :: :ok
  def save_npy!(tensor, path, options \\ []), do: ok!(save_npy(tensor, path, options))

  @doc """
  Writes tensors to a `.npz` file, each under its name, a string or an atom. With `compress: true`
  the daemon deflates them. The file appears whole or not at all, as that of `save_npy/3`.

      iex> path = Path.join(System.tmp_dir!(), "outrigger_doc.npz")
      iex> {x, y} = {Outrigger.tensor(MyApp.Compute, [1, 2]), Outrigger.tensor(MyApp.Compute, 0.5)}
      iex> :ok = Outrigger.save_npz(%{x: x, y: y}, path)
      iex> Outrigger.load_npz(MyApp.Compute, path, :x) |> Outrigger.to_list!()
      [1, 2]
  """
  @spec save_npz(named, Path.t(), keyword) :: :ok | Outrigger.error()
  def save_npz(tensors, path, options \\ []) do
    {compress, options} = Keyword.pop(options, :compress, false)

    with {:ok, tensor, fields} <- npz(tensors, path, compress),
         {:ok, _} <- request(tensor, "save_npz", fields, options) do
      Enum.find_value(tensors, :ok, fn {_name, tensor} ->
        with :ok <- Tensor.take_write_error(tensor), do: nil
      end)
    end
  end

  @doc "As `save_npz/3`, but raises."
  @spec save_npz!(named, Path.t(), keyword) :: :ok
  def save_npz!(tensors, path, options \\ []), do: ok!(save_npz(tensors, path, options))

  @doc false
  # The fields of the request, and the tensor for which it is sent.
  def npz(named, path, compress) do
    {names, tensors} = Enum.unzip(for {name, tensor} <- named, do: {to_string(name), tensor})

    unless tensors != [] and Enum.all?(tensors, &is_struct(&1, Tensor)) do
      raise ArgumentError, "a .npz file needs tensors with names, got: #{inspect(named)}"
    end

    fields = [
      {"handles", Enum.map(tensors, & &1.handle)},
      {"names", names},
      {"path", FileName.expand(path)},
      {"compress", compress}
    ]

    with :ok <- Tensor.check_all(tensors, hd(tensors).server), do: {:ok, hd(tensors), fields}
  end

  defp load(server, kind, path, fields),
    do: make(server, kind, [{"path", FileName.expand(path)} | fields])
end
