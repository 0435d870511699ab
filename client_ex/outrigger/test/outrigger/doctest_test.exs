defmodule Outrigger.DoctestTest do
  use ExUnit.Case, async: true
  alias Outrigger.{InPlace, Op}

  # The examples of the generated docs come from the catalogue and have none yet.
  doctest Outrigger
  doctest Op
  doctest InPlace
  doctest Outrigger.Catalogue
end
