defmodule EXLA do
  @moduledoc false
  # Stands in EXLA's place where EXLA's tests call it by name.

  def jit(fun, options \\ []), do: Nx.Defn.jit(fun, with_compiler(options))

  def jit_apply(fun, args, options \\ []),
    do: Nx.Defn.jit_apply(fun, args, with_compiler(options))

  def compile(fun, args, options \\ []) do
    Nx.Defn.compile(fun, args, with_compiler(options))
  end

  defp with_compiler(options) do
    options |> Keyword.drop([:debug, :cache]) |> Keyword.put(:compiler, Outrigger.Nx)
  end
end

defmodule EXLA.Case do
  @moduledoc false
  use ExUnit.CaseTemplate

  using do
    quote do
      import EXLA.Case
      import Nx.Testing
    end
  end

  def to_binary_backend(tensor), do: Nx.backend_copy(tensor, Nx.BinaryBackend)
  def is_mac_arm?, do: false
end
