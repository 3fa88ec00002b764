{# A double rounded to `digits` significant digits: sums in another order must not change a published value. #}
{% macro significant(expression, digits=9) -%}
    case
        when ({{ expression }}) is null or not isfinite({{ expression }}) or ({{ expression }}) = 0 then ({{ expression }})
        else printf('%.{{ digits - 1 }}e', ({{ expression }})::double)::double
    end
{%- endmacro %}
