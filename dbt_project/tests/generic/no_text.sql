{# Every text is empty: what it holds is a warning to be read. #}
{% test no_text(model, column_name) %}
select *
from {{ model }}
where {{ column_name }} != ''
{% endtest %}
